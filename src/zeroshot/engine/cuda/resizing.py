"""Resample decoded images on the device, in the steps of Pillow.

Pillow resamples the columns, rounds to gray levels, and then resamples the rows. Without the
rounding in between, levels differ by five; with it, at most two of 20 photographs' did on an H200.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.images.preprocess import Preprocess


def resize(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Resample and crop images of one size: uint8 [n, h, w, 3] to uint8 [n, 3, size, size]."""
    height, width = images.shape[1:3]
    columns, rows, left, top = preprocess.geometry(width, height)
    size = preprocess.size
    x = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    if columns != width:
        x = _resample(x, (height, columns), preprocess)
    x = x.narrow(3, left, size)
    if rows != height:
        x = _resample(x, (rows, size), preprocess)
    return x.narrow(2, top, size).to(torch.uint8, memory_format=torch.contiguous_format)


def _resample(images: Tensor, size: tuple[int, int], preprocess: Preprocess) -> Tensor:
    resampled = F.interpolate(images, size=size, mode=preprocess.interpolation, antialias=True)
    return resampled.round_().clamp_(0, 255)
