"""Take a random sample of a data set, without decoding the images that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np

from zeroshot.errors import InputError

from .datasets.base import DataSet


class Chosen(Sequence[Any]):
    """Some elements of a sequence, each taken when it is indexed."""

    def __init__(self, whole: Sequence[Any], positions: Sequence[int]) -> None:
        self._whole = whole
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Chosen: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Chosen(self._whole, self._positions[index])
        return self._whole[self._positions[index]]


def sample(data: DataSet, limit: int | None, *, seed: int = 0) -> DataSet:
    """Return a random sample of at most `limit` images in their order, the same for a seed.

    The first images would be of few classes: many data sets are sorted by class.
    """
    if limit is None or limit >= len(data.images):
        return data
    if limit < 1:
        raise InputError(f"expected a limit of at least 1 image, got {limit}")
    random = np.random.default_rng(seed)
    chosen = sorted(random.permutation(len(data.images))[:limit].tolist())
    return replace(
        data,
        images=Chosen(data.images, chosen),
        truth=[data.truth[n] for n in chosen],
        ignored=[data.ignored[n] for n in chosen] if len(data.ignored) else (),
    )
