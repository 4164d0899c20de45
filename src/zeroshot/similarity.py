"""Compare embeddings of names on a scale that does not depend on the model.

The cosine of two texts is high in every CLIP, however different they are: all texts lie in a narrow
cone. Relative similarity is 0 for two unrelated names and 1 for equal ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROWS = 1024  # compared at once; 4 MB per 1000 names
LEAST_RANGE = 1e-6  # of 1 - background, so that a model without contrast gives finite values


def background_cosine(words: Floats) -> float:
    """Return the median cosine between the embeddings of unrelated words.

    Args:
        words: float32 [n, d], unit length, at least two rows.
    """
    cosines = words @ words.T
    return float(np.median(cosines[np.triu_indices(len(words), 1)]))


def relative_similarity(names: Floats, others: Floats, background: float) -> Floats:
    """Return the relative similarity of each name to each other: float32 [n, m].

    It is (cosine - background) / (1 - background). Negative values are less similar than unrelated
    words.

    Args:
        names: float32 [n, d], unit length.
        others: float32 [m, d], unit length.
        background: As `background_cosine` returns it.
    """
    scale = max(1 - background, LEAST_RANGE)
    return np.asarray((names @ others.T - background) / scale, np.float32)


def similar_pairs(
    names: Floats, background: float, least: float
) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs of rows with a relative similarity of at least `least`: i < j, and it."""
    for start in range(0, len(names), ROWS):
        found = relative_similarity(names[start : start + ROWS], names[start:], background)
        for row, column in np.argwhere(np.triu(found >= least, 1)):
            yield start + int(row), start + int(column), float(found[row, column])
