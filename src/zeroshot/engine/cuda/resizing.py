"""Resample pictures of any size on the device, a batch at once, with Pillow's arithmetic.

Each picture lies in the corner of a canvas. One matrix product per direction resamples a batch:
the matrix of a picture contains Pillow's coefficients, and zeros beside it. Pillow rounds to gray
levels after the columns and again after the rows, and so does this. The result differs from
Pillow's by at most one level, where a sum is close to a half.

On 16 cores of an H200's machine, resampling on the CPU reached 5,100 pictures of 500 x 375 a second
whatever the number of threads, and decoding 13,100.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.engine.backend import Picture
from zeroshot.engine.cuda.staging import Staging
from zeroshot.images.preprocess import Preprocess
from zeroshot.spec import Interpolation

KEPT = 128  # matrices of different lengths; 0.5 MB each for a side of 500 pixels
SUPPORT: dict[Interpolation, float] = {"bicubic": 2.0, "bilinear": 1.0}  # of Pillow's filters


class Resizer:
    """Resamples pictures on one device."""

    def __init__(self, staging: Staging, device: torch.device) -> None:
        self._staging = staging
        self._matrix = lru_cache(maxsize=KEPT)(
            lambda *facts: torch.from_numpy(coefficients(*facts)).to(device)
        )

    def resize(self, pictures: Sequence[Picture]) -> Tensor:
        """Return gray levels uint8 [n, 3, size, size] of pictures with equal preprocessing."""
        preprocess, size = pictures[0].preprocess, pictures[0].preprocess.size
        shapes = [picture.values.shape[:2] for picture in pictures]
        height, width = (max(sides) for sides in zip(*shapes, strict=True))
        canvas = self._place([picture.values for picture in pictures], (height, width, 3))
        across, down = self._matrices(shapes, preprocess, height, width)
        n = len(pictures)
        # Only products of float32 keep sums of 8-bit levels apart from a half, so no TF32 here.
        x = canvas.permute(0, 1, 3, 2).float().reshape(n, height * 3, width)
        x = _to_levels(torch.bmm(x, across)).view(n, height, 3 * size)
        x = _to_levels(torch.bmm(down, x)).view(n, size, 3, size)
        return x.permute(0, 2, 1, 3).to(torch.uint8, memory_format=torch.contiguous_format)

    def _place(
        self, pictures: Sequence[NDArray[np.uint8] | Tensor], shape: tuple[int, int, int]
    ) -> Tensor:
        """Return a canvas [n, *shape] on the device with a picture in the corner of each row."""
        there = [picture for picture in pictures if isinstance(picture, Tensor)]
        here = [picture for picture in pictures if not isinstance(picture, Tensor)]
        if not there:
            return self._staging.upload(here, shape)
        if not here and all(picture.shape == shape for picture in there):
            return torch.stack(there)
        canvas = there[0].new_zeros(len(pictures), *shape)
        for row, picture in zip(canvas, pictures, strict=True):
            given = picture if isinstance(picture, Tensor) else self._staging.upload([picture])[0]
            row[: given.shape[0], : given.shape[1]] = given
        return canvas

    def _matrices(
        self, shapes: Sequence[tuple[int, ...]], preprocess: Preprocess, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """Return the matrices of the columns [n, width, size] and the rows [n, size, height]."""
        numbers = {shape: place for place, shape in enumerate(dict.fromkeys(shapes))}
        size, kind = preprocess.size, preprocess.interpolation
        across, down = [], []
        for rows, columns in numbers:
            new_width, new_height, left, top = preprocess.geometry(columns, rows)
            across.append(self._matrix(columns, width, new_width, left, size, kind))
            down.append(self._matrix(rows, height, new_height, top, size, kind).T)
        places = torch.tensor([numbers[shape] for shape in shapes]).to(across[0].device)
        return torch.stack(across)[places], torch.stack(down)[places]


def coefficients(
    length: int, padded: int, resized: int, first: int, count: int, kind: Interpolation
) -> NDArray[np.float32]:
    """Return Pillow's coefficients of one direction as a matrix [padded, count].

    Column i has the weights of the pixels of a side of `length` pixels for pixel `first` + i of the
    side of `resized` pixels. Source: precompute_coeffs in Pillow's Resample.c.
    """
    scale = length / resized
    stretch = max(scale, 1.0)  # of the filter, if the side becomes shorter
    support = SUPPORT[kind] * stretch
    centers = (np.arange(first, first + count) + 0.5) * scale
    starts = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centers + support + 0.5).astype(np.int64), length)
    places = np.arange(length)[:, None]
    distances = np.abs((places - centers + 0.5) / stretch)
    weights = np.where((places >= starts) & (places < ends), _filter(distances, kind), 0.0)
    found = np.zeros((padded, count), np.float32)
    found[:length] = weights / weights.sum(axis=0)
    return found


def _filter(x: NDArray[np.float64], kind: Interpolation) -> NDArray[np.float64]:
    """Return Pillow's filter at distances of 0 or more."""
    if kind == "bilinear":
        return np.maximum(1.0 - x, 0.0)
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _to_levels(values: Tensor) -> Tensor:
    """Round to gray levels, a half up as Pillow does."""
    return values.add_(0.5).floor_().clamp_(0, 255)
