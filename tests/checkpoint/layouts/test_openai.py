"""OpenAI's archives are recognized by their extra tensors, and read off tensor shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zeroshot
from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import openai
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published, Spec, ViTConfig


def test_traced_model_without_the_extra_tensors_is_not_recognized(
    vit: Tensors, tmp_path: Path
) -> None:
    forms.save_torchscript(forms.openai(vit), tmp_path / "traced.pt")

    with pytest.raises(IncompatibleWeights, match="do not determine activation"):
        reader.read(tmp_path / "traced.pt")


def stored(spec: Spec) -> dict[str, StoredTensor]:
    return {name: StoredTensor((tensor,)) for name, tensor in forms.tensors_of(spec).items()}


LIKE = Published("quick_gelu", PreprocessConfig(224))


@pytest.mark.parametrize("spec", [forms.VIT, forms.RESNET], ids=["vit", "resnet"])
def test_architecture_is_read_off_the_shapes(spec: Spec) -> None:
    assert openai.from_shapes(stored(spec), LIKE, "x.pt") == spec


def test_activation_and_preprocessing_are_those_of_like() -> None:
    like = Published("gelu", PreprocessConfig(224, interpolation="bilinear", resize_mode="squash"))

    spec = openai.from_shapes(stored(forms.VIT), like, "x.pt")

    assert (spec.network.vision.activation, spec.network.text.activation) == ("gelu", "gelu")
    assert spec.preprocess == PreprocessConfig(32, interpolation="bilinear", resize_mode="squash")


@pytest.mark.parametrize(
    "name",
    [
        *("text.ln_final.weight", "text.positional_embedding", "text.token_embedding.weight"),
        *("text.text_projection", "visual.class_embedding", "visual.conv1.weight"),
        "visual.transformer.resblocks.0.mlp.c_fc.weight",
    ],
)
def test_missing_tensor_that_tells_the_architecture_is_named(name: str) -> None:
    tensors = stored(forms.VIT)
    del tensors[name]

    with pytest.raises(
        IncompatibleWeights, match=r"x\.pt: tensor .* is missing or has an unexpected shape"
    ):
        openai.from_shapes(tensors, LIKE, "x.pt")


@pytest.mark.parametrize("spec", [forms.VIT, forms.RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("shape", [(0, 64), (), (3,), (2, 2, 2, 2)])
def test_positions_of_an_impossible_shape_are_an_error(
    spec: Spec, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensors = forms.tensors_of(spec)
    local = spec.network.vision.position_embeddings[0]
    content = forms.openai(tensors | {f"visual.{local}": torch.ones(shape)}) | forms.extras(spec)
    torch.save(content, tmp_path / "bad.pt")

    with pytest.raises(IncompatibleWeights):
        reader.read(tmp_path / "bad.pt")


def test_width_that_heads_of_64_do_not_divide_is_rejected() -> None:
    tensors = stored(forms.VIT)
    tensors["text.ln_final.weight"] = StoredTensor((torch.ones(72),))

    with pytest.raises(IncompatibleWeights, match="expected a tower width divisible by 64, got 72"):
        openai.from_shapes(tensors, LIKE, "x.pt")


def test_vocabulary_of_another_tokenizer_is_rejected() -> None:
    tensors = stored(forms.VIT)
    tensors["text.token_embedding.weight"] = StoredTensor((torch.ones(32000, 64),))

    with pytest.raises(IncompatibleWeights, match="CLIP's vocabulary of 49408 ids, got 32000"):
        openai.from_shapes(tensors, LIKE, "x.pt")


def test_extra_tensors_are_not_weights(vit: Tensors, tmp_path: Path) -> None:
    checkpoint = reader.read(forms.openai_archive(forms.VIT, vit, tmp_path))

    assert checkpoint.layout == "openai"
    assert not set(openai.EXTRAS) & checkpoint.weights.stored.keys()


@pytest.mark.parametrize(
    ("width", "heads"), [(768, 12), (1024, 16), (1280, 16), (1408, 16), (1664, 16), (1792, 16)]
)
def test_heads_of_wide_towers_are_those_of_the_published_architecture(
    width: int, heads: int
) -> None:
    tensors = stored(forms.VIT)
    tensors["visual.conv1.weight"] = StoredTensor((torch.ones(width, 3, 8, 8),))

    vision = openai.from_shapes(tensors, LIKE, "x.pt").network.vision

    assert isinstance(vision, ViTConfig)
    assert vision.heads == heads


# ---- Long-CLIP

LENGTH = 30
LONG = replace(
    forms.VIT, network=replace(forms.VIT.network, text=replace(forms.TEXT, context_length=LENGTH))
)


@pytest.fixture
def tables() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(LENGTH, 64, generator=random), torch.randn(LENGTH, 64, generator=random)


def long_clip(tables: tuple[torch.Tensor, torch.Tensor]) -> Tensors:
    first, second = tables
    names = {"positional_embedding": first, "positional_embedding_res": second}
    return forms.openai(forms.tensors_of(LONG)) | names


@pytest.mark.parametrize("half", [False, True])
def test_both_tables_of_positions_of_long_clip_become_one(
    half: bool, tables: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    content = long_clip(tables)
    torch.save(forms.half(content) if half else content, tmp_path / "longclip-B.pt")

    found = reader.read(tmp_path / "longclip-B.pt")

    assert (found.spec, found.layout) == (LONG, "openai")
    first, second = (table.half().float() if half else table for table in tables)
    # as its code does with two masks
    mask = (torch.arange(LENGTH) < 20).float().unsqueeze(1)
    expected = first * mask + second * (1 - mask)
    assert torch.equal(found.network.text.positional_embedding, expected)


def test_identity_of_long_clip_is_that_of_the_same_model_with_one_table(
    tables: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(long_clip(tables), tmp_path / "longclip-B.pt")
    fused = torch.cat([tables[0][:20], tables[1][20:]])
    tensors = forms.tensors_of(LONG) | {"text.positional_embedding": fused}
    folder = tmp_path / "hf"
    folder.mkdir()
    forms.transformers(LONG, tensors, folder)

    first, second = (
        zeroshot.load(path, device="cpu") for path in (tmp_path / "longclip-B.pt", folder)
    )

    assert first.identity == second.identity
    text = "a photo of a cat " * 5
    assert torch.equal(first.encode_text(text), second.encode_text(text))


@pytest.mark.parametrize("shape", [(LENGTH + 1, 64), (LENGTH, 32), (64,), ()])
def test_second_table_of_another_shape_is_an_error(
    shape: tuple[int, ...], tables: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(long_clip((tables[0], torch.ones(shape))), tmp_path / "longclip-B.pt")

    with pytest.raises(IncompatibleWeights, match=r"1 unexpected: text\.positional_embedding_res"):
        reader.read(tmp_path / "longclip-B.pt")


def test_long_clip_that_is_wider_than_openais_models_requires_like(
    tables: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    content = long_clip(tables) | {"visual.conv1.weight": torch.ones(1664, 3, 8, 8)}
    torch.save(content, tmp_path / "longclip-bigG.pt")

    with pytest.raises(
        IncompatibleWeights, match=r"activation of a tower as wide .* like='ViT-big"
    ):
        reader.read(tmp_path / "longclip-bigG.pt")
    with pytest.raises(IncompatibleWeights, match="do not match the architecture"):
        reader.read(tmp_path / "longclip-bigG.pt", LIKE)
