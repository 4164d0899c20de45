"""Towers of loaded models own their values, whatever else was made of the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import forms
from tests.checkpoint.forms import Form
from tests.engine.support import CLOSE, network_of, worst
from zeroshot.engine.cpu import linear
from zeroshot.engine.cpu.towers import CPU_TOWERS
from zeroshot.errors import NonFiniteError
from zeroshot.spec import Spec
from zeroshot.tokenizers import ClipTokenizer

HUGE = 3e38  # finite in float32 and bfloat16; overflows in the first layer
WORD = "zebra"
GOOD, OTHER = "a photo of a cat", "two dogs"
PRECISIONS = {"float32": 1e-5, "bfloat16": 5 * CLOSE}  # largest distance of two embeddings


@pytest.fixture(params=PRECISIONS)
def dtype(request: pytest.FixtureRequest) -> str:
    if request.param == "bfloat16" and not linear.can_pack(torch.bfloat16):
        pytest.skip("requires a CPU with bfloat16")
    return str(request.param)


def file_backed(form: Form, spec: Spec, tensors: forms.Tensors, folder: Path) -> Path:
    """Write a checkpoint of float32 values, which a reader maps and does not copy."""
    folder.mkdir()
    return form(spec, tensors, folder)


def distinct(spec: Spec) -> forms.Tensors:
    """Draw tensors with which embeddings differ clearly from input to input."""
    state = network_of(spec.network).state_dict()
    return {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}


def load(path: Path, dtype: str) -> zeroshot.Model:
    return zeroshot.load(path, device="cpu", dtype=dtype)


def pixels_for(spec: Spec, count: int = 5) -> torch.Tensor:
    size = spec.preprocess.size
    random = torch.Generator().manual_seed(count)
    shades = 2 * torch.randn(count, 3, 1, 1, generator=random)
    return shades + torch.randn(count, 3, size, size, generator=random)


# ---- a text that overflows


@pytest.mark.parametrize("form", [forms.ours, forms.transformers], ids=lambda form: form.__name__)
def test_overflowing_token_of_a_loaded_model_fails_its_own_text_only(
    form: Form, dtype: str, tmp_path: Path
) -> None:
    tensors = forms.tensors_of(forms.VIT)
    clean = load(file_backed(form, forms.VIT, tensors, tmp_path / "clean"), dtype)
    expected = clean.encode_text([GOOD, OTHER])
    ((_, token, _),) = ClipTokenizer().rows([WORD])
    tensors["text.token_embedding.weight"][token] = HUGE
    model = load(file_backed(form, forms.VIT, tensors, tmp_path / "broken"), dtype)

    for _ in range(2):
        with pytest.raises(NonFiniteError) as caught:
            model.encode_text([GOOD, f"a {WORD}", OTHER])
        assert caught.value.rows == [1]
        assert torch.equal(model.encode_text([GOOD, OTHER]), expected)
        assert torch.equal(model.encode_text(GOOD), clean.encode_text(GOOD))


@pytest.mark.parametrize("form", [forms.ours, forms.transformers], ids=lambda form: form.__name__)
def test_overflowing_token_does_not_affect_texts_with_the_same_prefix(
    form: Form, dtype: str, tmp_path: Path
) -> None:
    tensors = forms.tensors_of(forms.VIT)
    clean = load(file_backed(form, forms.VIT, tensors, tmp_path / "clean"), dtype)
    ((_, token, _),) = ClipTokenizer().rows([WORD])
    tensors["text.token_embedding.weight"][token] = HUGE
    model = load(file_backed(form, forms.VIT, tensors, tmp_path / "broken"), dtype)
    texts = [f"a photo of a {word}" for word in ("cat", WORD, "dog", f"big {WORD}", "bird")]

    with pytest.raises(NonFiniteError) as caught:
        model.encode_text(texts)

    assert caught.value.rows == [1, 3]
    good = [text for text in texts if WORD not in text]
    assert worst(model.encode_text(good), clean.encode_text(good)) < PRECISIONS[dtype]


# ---- a tower without a CPU version

KINDS: dict[str, tuple[Spec, Form]] = {
    "ViT, native": (forms.VIT, forms.ours),
    "ViT, transformers": (forms.VIT, forms.transformers),
    "ResNet, native": (forms.RESNET, forms.ours),
    "ResNet, open_clip": (forms.RESNET, forms.open_clip),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["vision", "text"])
def test_loaded_tower_without_a_cpu_version_gives_the_same_embeddings(
    kind: str, which: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, form = KINDS[kind]
    path = file_backed(form, spec, distinct(spec), tmp_path / "checkpoint")
    batch, texts = pixels_for(spec), [GOOD, OTHER, WORD]
    with_both = load(path, dtype)
    images, sentences = with_both.encode_pixels(batch), with_both.encode_text(texts)
    config: Any = getattr(spec.network, which)
    monkeypatch.delitem(CPU_TOWERS, type(config))
    model = load(path, dtype)

    first = model.encode_pixels(batch), model.encode_text(texts)

    assert worst(first[0], images) < PRECISIONS[dtype]
    assert worst(first[1], sentences) < PRECISIONS[dtype]
    assert worst(images, images.roll(1, 0)) > 0.1  # the inputs differ
    for _ in range(2):
        other = load(path, dtype)  # makes towers of the same file, and releases its pages
        other.encode_text(texts), other.encode_pixels(batch)
        with_both.to(dtype="float32").encode_text(texts)
        model.checkpoint.weights.check()
        assert torch.equal(model.encode_pixels(batch), first[0])
        assert torch.equal(model.encode_text(texts), first[1])


def test_plain_tower_of_a_loaded_model_is_used_after_the_text_tower_was_made(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_backed(forms.transformers, forms.VIT, distinct(forms.VIT), tmp_path / "checkpoint")
    expected = load(path, dtype).encode_pixels(pixels_for(forms.VIT))
    monkeypatch.delitem(CPU_TOWERS, type(forms.VIT.network.vision))
    model = load(path, dtype)

    for text in (GOOD, OTHER):
        model.encode_text(text)
        found = model.encode_pixels(pixels_for(forms.VIT))
        assert worst(found, expected) < PRECISIONS[dtype]
