"""Take a random sample of a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from examples.paper.datasets.base import DataSet
from zeroshot.errors import InputError


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
        images=[data.images[n] for n in chosen],
        truth=[data.truth[n] for n in chosen],
        ignored=[data.ignored[n] for n in chosen] if len(data.ignored) else (),
    )
