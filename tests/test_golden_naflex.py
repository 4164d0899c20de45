"""A tiny SigLIP 2 NaFlex that transformers wrote, and the answers of transformers.

tests/parity/make_fixtures.py made them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from tests.parity import pictures
from tests.test_golden import TOLERANCE, relative_error, unpack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("hf-naflex", tmp_path_factory.mktemp("hf-naflex"))


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, Any]:
    with np.load(folder / "answers.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def model(folder: Path) -> zeroshot.Model:
    return zeroshot.load(folder / "tiny", device="cpu", dtype="float32")


def test_shapes_of_pixels_equal_the_peer(model: zeroshot.Model, answers: dict[str, Any]) -> None:
    found = [model.prepare(picture).shape for picture in pictures.some_photographs()]

    assert found == [tuple(answers[f"shape_{i}"]) for i in range(len(found))]
    assert len(set(found)) > 3


def test_embeddings_equal_the_peer(model: zeroshot.Model, answers: dict[str, Any]) -> None:
    chosen = pictures.COMPARED
    photographs = pictures.some_photographs()

    images = model.encode_image([photographs[i] for i in chosen])
    texts = model.encode_text(list(pictures.SOME_SENTENCES), truncate=True)

    assert relative_error(images, answers["image_unit"][chosen]) < TOLERANCE
    assert relative_error(texts, answers["text_unit"]) < TOLERANCE
    scores = torch.sigmoid(model.logit_scale * images @ texts.T + (model.logit_bias or 0))
    np.testing.assert_allclose(scores.numpy(), answers["probabilities"][chosen], rtol=1e-3)


def test_token_rows_equal_the_peer(model: zeroshot.Model, answers: dict[str, Any]) -> None:
    found = model.tokenizer(list(pictures.SOME_SENTENCES), truncate=True)

    assert np.array_equal(found, answers["ids"])
