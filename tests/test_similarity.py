"""Relative similarity is 0 for unrelated names and 1 for equal ones, in every model."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from zeroshot import similarity

CONE = 3.0  # length of the direction that all texts share


def texts(count: int, seed: int, cone: float = CONE) -> NDArray[np.float32]:
    """Draw unit vectors around one direction, as CLIP's text embeddings are."""
    rows = np.random.default_rng(seed).normal(size=(count, 64)) / 8
    rows[:, 0] += cone
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("cone", [0.5, 3.0])
def test_unrelated_names_have_a_relative_similarity_near_zero(cone: float) -> None:
    background = similarity.background_cosine(texts(200, 0, cone))
    found = similarity.relative_similarity(texts(50, 1, cone), texts(50, 2, cone), background)

    assert abs(np.median(found)) < 0.05
    assert found.shape == (50, 50)
    assert found.dtype == np.float32


def test_a_name_has_a_relative_similarity_of_one_with_itself() -> None:
    names = texts(5, 1)
    background = similarity.background_cosine(texts(200, 0))

    found = similarity.relative_similarity(names, names, background)

    np.testing.assert_allclose(np.diag(found), 1, atol=1e-4)


def test_a_model_without_contrast_gives_finite_values() -> None:
    names = np.ones((3, 1), np.float32)

    found = similarity.relative_similarity(names, names, similarity.background_cosine(names))

    assert np.isfinite(found).all()


def test_similar_pairs_are_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "ROWS", 7)
    names = texts(40, 1)
    background = similarity.background_cosine(names)
    whole = similarity.relative_similarity(names, names, background)

    found = list(similarity.similar_pairs(names, background, 0.1))

    expected = np.argwhere(np.triu(whole >= 0.1, 1))
    assert [(i, j) for i, j, _ in found] == [tuple(pair) for pair in expected.tolist()]
    assert found
    assert [value for *_, value in found] == pytest.approx(
        [float(whole[i, j]) for i, j, _ in found], abs=1e-5
    )
