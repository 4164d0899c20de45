"""Arrange token rows as padded arrays of similar length, without Python code per token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zeroshot.engine.backend import Row

TEXTS = 16_384  # in a batch
TOKENS = 128 * 1024  # in a batch, padding included
FEW = 256  # texts that are padded to one length rather than run as several batches


class TextBatch(NamedTuple):
    """Texts of similar length: their numbers [n], and their ids with padding [n, t]."""

    texts: NDArray[np.int64]
    ids: NDArray[np.int64]


def arrange(
    rows: Sequence[Row], pad: int, *, texts: int = TEXTS, tokens: int = TOKENS
) -> Iterator[TextBatch]:
    """Yield batches of at most `texts` texts and `tokens` tokens, the shortest texts first.

    A batch has at least one text. Texts of several lengths share a batch only if the longest has at
    most 1.25 times the tokens of the shortest, or there are few of them.
    """
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    ids = np.fromiter(
        chain.from_iterable(map(rows.__getitem__, order.tolist())), np.int64, int(lengths.sum())
    )
    ends = np.cumsum(ordered)
    start = 0
    while start < len(rows):
        stop = _find_end(ordered, start, texts, tokens)
        longest = int(ordered[stop - 1])
        padded = np.full((stop - start, longest), pad, np.int64)
        real = np.arange(longest) < ordered[start:stop, None]
        padded[real] = ids[ends[start] - ordered[start] : ends[stop - 1]]
        yield TextBatch(order[start:stop], padded)
        start = stop


def _find_end(lengths: NDArray[np.int64], start: int, texts: int, tokens: int) -> int:
    """Return where the batch ends that begins at `start`; lengths are sorted."""
    candidates = lengths[start : start + texts]
    counts = np.arange(1, len(candidates) + 1)
    fits = counts * candidates <= tokens
    similar = (candidates <= 1.25 * candidates[0]) | (counts <= FEW)
    joined = fits & similar  # true up to the end of the batch
    return start + (len(candidates) if joined.all() else max(1, int(joined.argmin())))
