"""Tiny checkpoints, tokens and pixels whose right answers came from the peers' own packages.

tests/parity/make_fixtures.py made them: OpenAI's clip, open_clip and transformers on seeded random
weights. Here only zeroshot runs.
"""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import zeroshot
from tests.checkpoint import families_convnext, families_eva, families_fastvit
from tests.parity import pictures
from zeroshot.checkpoint.layouts import timm, timm_convnext, timm_fastvit
from zeroshot.images.preprocess import Preprocess
from zeroshot.tokenizers.clip import ClipTokenizer

FIXTURES = Path(__file__).parent / "fixtures"
TOLERANCE = 1e-5  # of an embedding's length, in float32
CHECKPOINTS = (
    "openai-vit",
    "openai-resnet",
    "state-dict",
    "open_clip-gelu",
    "open_clip-custom-text",
    "open_clip-squash",
    "hf-quick-gelu",
    "hf-gelu",
    "open_clip-fastvit",
    "open_clip-convnext",
    "hf-siglip",
    "hf-chinese-clip",
    "hf-metaclip",
    "open_clip-eva02",
    "open_clip-eva02-e",
    "open_clip-clipa",
)
LIKE = {"state-dict": "ViT-B/32"}  # bare tensors do not say their activation
OF_PICTURES = ("pixels", "image", "image_unit", "logits", "probabilities")  # answers, a row each
# OpenAI's order clips these to 8 bits, ours scales them: only comparable with parity=True
SCALED_MODES = ("I;16", "I-", "F-", "grey16.png")


@dataclass(frozen=True)
class Golden:
    """A checkpoint as zeroshot reads it, and what its own package answers."""

    model: Any
    answers: dict[str, NDArray[Any]]


def unpack(name: str, folder: Path) -> Path:
    content = lzma.decompress((FIXTURES / f"{name}.tar.xz").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module", params=CHECKPOINTS)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    name = request.param
    folder = unpack(name, tmp_path_factory.mktemp(name))
    options = {"like": LIKE[name]} if name in LIKE else {}
    path = folder / (folder / "entry.txt").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(timm_convnext.TOWERS, families_convnext.TOWER, families_convnext.SHALLOW)
        for tower, config in families_fastvit.TOWERS.items():
            patch.setitem(timm_fastvit.TOWERS, tower, config)
        for tower, config in families_eva.GOLDEN.items():
            patch.setitem(timm.TOWERS, tower, config)
        model = zeroshot.load(path, device="cpu", dtype="float32", **options)
    with np.load(folder / "answers.npz") as answers:
        chosen = {
            name: answer[pictures.COMPARED] if name in OF_PICTURES else answer
            for name, answer in answers.items()
        }
    return Golden(model, chosen)


@pytest.fixture(scope="module")
def photographs() -> list[NDArray[np.uint8]]:
    photographs = pictures.some_photographs()
    return [photographs[i] for i in pictures.COMPARED]


def relative_error(found: torch.Tensor, expected: NDArray[np.float32]) -> float:
    """The largest distance of a row from its expectation, in lengths of that."""
    wanted = torch.from_numpy(expected)
    return float(((found - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max())


# ---- checkpoints


def test_pixels_equal_the_reference_packages_to_one_gray_level(
    golden: Golden, photographs: Any
) -> None:
    mean, std = golden.answers["mean"], golden.answers["std"]

    found = np.stack([golden.model.preprocess(photograph) for photograph in photographs])

    levels = (found.transpose(0, 2, 3, 1) * std + mean) * 255
    assert np.abs(levels - golden.answers["pixels"]).max() <= 1.001


def test_embeddings_of_the_same_pixels_equal_the_reference_packages(golden: Golden) -> None:
    levels = golden.answers["pixels"].transpose(0, 3, 1, 2) / 255
    mean, std = (golden.answers[name][:, None, None] for name in ("mean", "std"))
    pixels = torch.from_numpy((levels - mean) / std).float()

    found = golden.model.encode_pixels(pixels)

    assert relative_error(found, golden.answers["image_unit"]) < TOLERANCE


@pytest.mark.parametrize(("normalize", "answer"), [(False, "image"), (True, "image_unit")])
def test_image_embeddings_equal_the_reference_packages(
    golden: Golden, photographs: Any, normalize: bool, answer: str
) -> None:
    found = golden.model.encode_image(photographs, normalize=normalize)

    assert found.dtype == torch.float32
    assert relative_error(found, golden.answers[answer]) < TOLERANCE


def test_token_rows_equal_the_reference_packages(golden: Golden) -> None:
    found = golden.model.tokenizer(pictures.SOME_SENTENCES, truncate=True)

    assert np.array_equal(found, golden.answers["ids"])


@pytest.mark.parametrize(("normalize", "answer"), [(False, "text"), (True, "text_unit")])
def test_text_embeddings_equal_the_reference_packages(
    golden: Golden, normalize: bool, answer: str
) -> None:
    sentences = list(pictures.SOME_SENTENCES)

    found = golden.model.encode_text(sentences, normalize=normalize, truncate=True)

    assert relative_error(found, golden.answers[answer]) < TOLERANCE


def test_logits_and_probabilities_equal_the_reference_packages(
    golden: Golden, photographs: Any
) -> None:
    model, answers = golden.model, golden.answers
    texts = model.encode_text(list(pictures.SOME_SENTENCES), truncate=True)

    found = model.logit_scale * model.similarity(model.encode_image(photographs), texts)
    found = found + (model.logit_bias or 0)

    assert model.logit_scale == pytest.approx(float(answers["logit_scale"]), rel=1e-6)
    assert model.logit_bias == answers.get("logit_bias")
    np.testing.assert_allclose(
        found.numpy(), answers["logits"], rtol=1e-5, atol=1e-5 * model.logit_scale
    )
    np.testing.assert_allclose(
        probabilities(model, found).numpy(), answers["probabilities"], rtol=1e-3, atol=1e-5
    )


def probabilities(model: Any, logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(dim=1) if model.scoring == "softmax" else logits.sigmoid()


def test_classifier_predictions_equal_the_reference_packages(
    golden: Golden, photographs: Any
) -> None:
    limit = golden.model.tokenizer.context_length
    fitting = [
        i
        for i, text in enumerate(pictures.SOME_SENTENCES)
        if text and len(golden.model.tokenizer.encode(text)) + 2 <= limit
    ]
    labels = [pictures.SOME_SENTENCES[i] for i in fitting]
    logits = torch.from_numpy(golden.answers["logits"][:, fitting])
    expected = probabilities(golden.model, logits).numpy()

    found = golden.model.classifier(labels, prompts=["{}"]).predict_proba(photographs)

    assert len(labels) >= 5
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


# ---- tokens


@cache
def tokens() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        lzma.decompress((FIXTURES / "tokens.json.xz").read_bytes())
    )
    return document


def test_ids_of_two_thousand_texts_equal_openai() -> None:
    tokenizer = ClipTokenizer()
    texts, expected = tokens()["texts"], tokens()["ids"]

    different = [
        text
        for text, ids in zip(texts, expected, strict=True)
        if list(tokenizer.encode(text)) != ids
    ]

    assert len(texts) >= 2000
    assert different == []


def test_long_texts_are_truncated_like_openai() -> None:
    cut = tokens()["cut"]
    texts = [tokens()["texts"][i] for i in cut["texts"]]

    found = ClipTokenizer()(texts, truncate=True)

    assert found.dtype == np.int64
    assert np.array_equal(found, np.array(cut["rows"]))


# ---- pixels


@pytest.fixture(scope="module")
def pixels_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("pixels", tmp_path_factory.mktemp("pixels"))


def grey_level_errors(
    folder: Path, order: str, preprocess: Preprocess, *, but: tuple[str, ...] = ()
) -> dict[str, float]:
    """By how many grey levels, at most, each stored picture is off."""
    drawn = {kind.name: kind.draw for kind in pictures.KINDS}
    drawn |= {f"{kind.name}@224": kind.draw for kind in pictures.LARGE_KINDS}
    errors: dict[str, float] = {}
    with np.load(folder / "levels.npz") as stored:
        names = {key.split("|")[0] for key in stored if key.endswith(f"|{order}")}
        if order == "rgb-first":  # stored only where it differs from the other order
            names = {key.split("|")[0] for key in stored if key.endswith("|resized-first")}
        for name in sorted(names):
            if name.startswith(but):
                continue
            key = f"{name}|{order}"
            expected = stored[key if key in stored else f"{name}|resized-first"]
            source = drawn[name]() if name in drawn else folder / name
            found = replace(preprocess, size=len(expected))(source).transpose(1, 2, 0)
            levels = (found * np.array(preprocess.std) + np.array(preprocess.mean)) * 255
            errors[name] = float(np.abs(levels - expected).max())
    return errors


def test_pixels_of_every_image_mode_equal_the_reference_packages_on_rgb(
    pixels_folder: Path,
) -> None:
    errors = grey_level_errors(pixels_folder, "rgb-first", Preprocess(64), but=SCALED_MODES)

    assert len(errors) >= 30
    assert {name: error for name, error in errors.items() if error > 1.001} == {}


def test_parity_pixels_of_every_image_mode_equal_openai(
    pixels_folder: Path,
) -> None:
    errors = grey_level_errors(pixels_folder, "resized-first", Preprocess(64, parity=True))

    assert len(errors) >= 30
    assert {name: error for name, error in errors.items() if error > 1.001} == {}


@pytest.mark.parametrize(
    ("interpolation", "resize_mode"),
    [("bicubic", "squash"), ("bilinear", "squash"), ("bilinear", "shortest")],
)
def test_other_resize_modes_equal_open_clip(
    pixels_folder: Path, interpolation: Any, resize_mode: Any
) -> None:
    half = (0.5, 0.5, 0.5)
    preprocess = Preprocess(48, half, half, interpolation, resize_mode)

    errors = grey_level_errors(pixels_folder, f"{interpolation}-{resize_mode}", preprocess)

    assert len(errors) >= 5
    assert {name: error for name, error in errors.items() if error > 1.001} == {}
