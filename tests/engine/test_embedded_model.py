"""The CPU towers against the plain modules on real weights and real photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import zeroshot
from zeroshot import prompts
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.engine import Engine

PHOTOS = sorted((Path(__file__).parents[2] / "examples" / "photos").glob("*.*g"))
LABELS = list(prompts.labels("cifar100"))


@pytest.fixture(scope="module")
def mini() -> zeroshot.Model:
    return zeroshot.load("mini", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def plain(mini: zeroshot.Model) -> Engine:
    cpu = torch.device("cpu")
    return Engine(mini.checkpoint.weights, mini.spec.network, cpu, torch.float32, plain=True)


@pytest.mark.parametrize(("dtype", "cosine"), [("float32", 0.999999), ("bfloat16", 0.99)])
def test_photo_embeddings_match_the_plain_tower(
    mini: zeroshot.Model, plain: Engine, dtype: str, cosine: float
) -> None:
    pixels = torch.from_numpy(np.stack([mini.prepare(path) for path in PHOTOS]))
    expected = plain.encode_pixels(pixels)

    found = mini.to(dtype=dtype).encode_pixels(pixels)

    assert float((found * expected).sum(dim=1).min()) > cosine


@pytest.mark.parametrize(("dtype", "cosine"), [("float32", 0.999999), ("bfloat16", 0.999)])
def test_head_matches_the_mean_of_plain_text_embeddings(
    mini: zeroshot.Model, plain: Engine, dtype: str, cosine: float
) -> None:
    templates = prompts.get("cifar100").templates
    sentences = [template.replace("{}", label) for label in LABELS for template in templates]
    rows = plain.encode_ids(mini.tokenizer.rows(sentences)).view(len(LABELS), len(templates), -1)
    expected = torch.nn.functional.normalize(rows.mean(dim=1), dim=1)

    found = mini.to(dtype=dtype).head(LABELS, "cifar100").weight

    assert float((found * expected).sum(dim=1).min()) > cosine


def test_both_precisions_give_the_same_labels(mini: zeroshot.Model) -> None:
    found = mini.classifier(LABELS).predict(PHOTOS)

    assert list(mini.to(dtype="bfloat16").classifier(LABELS).predict(PHOTOS)) == list(found)


def test_saved_head_classifies_without_reading_the_text_tower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "head.safetensors"
    zeroshot.load("mini").head(["cat", "dog"]).save(path)
    model = zeroshot.load("mini", dtype="float32")
    assert model.identity  # the fingerprint reads a few values of each tensor
    stored, asked = model.checkpoint.weights.stored, []
    read = StoredTensor.read
    monkeypatch.setattr(StoredTensor, "read", lambda one: asked.append(one) or read(one))

    found = model.classifier(zeroshot.Head.load(path))(PHOTOS[3])

    assert found.label == "cat"
    names = {name for name, one in stored.items() if any(one is other for other in asked)}
    assert "visual.concepts" in names
    assert not any(name.startswith("text.") for name in names)
