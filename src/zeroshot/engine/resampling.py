"""Pixels by torch's own antialiased resampling of bytes, in half of Pillow's time.

Equal to `zeroshot.pixels` to one grey level, which a test shows for every kind of picture. The
plain way stays the reference, and is what float32 models use.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.pillow_memory import grey_levels
from zeroshot.images import ImageLike
from zeroshot.images.preprocess import LONGEST, Preprocess


def prepare(image: ImageLike, preprocess: Preprocess, dtype: torch.dtype) -> NDArray[np.float32]:
    """Make pixels for a network of this precision: float32 [3, size, size].

    Exactly the reference's for float32; other precisions round more than resampling does.
    """
    if preprocess.parity or dtype == torch.float32:
        return preprocess(image)
    return resample(preprocess.open(image), preprocess)


def resample(picture: Image.Image, preprocess: Preprocess) -> NDArray[np.float32]:
    """Turn an RGB picture into normalized pixels: float32 [3, size, size]."""
    size = preprocess.size
    short, long = sorted(picture.size)
    if short < size or long > LONGEST * short:  # enlarging, torch would be two levels off
        return preprocess.normalize(np.asarray(preprocess.resize(picture)))
    width, height, left, top = preprocess.geometry(*picture.size)
    with torch.inference_mode():
        with grey_levels(picture) as whole:
            resized = F.interpolate(
                whole, size=(height, width), mode=preprocess.interpolation, antialias=True
            )
        square = resized[0, :3, top : top + size, left : left + size]
        scale, shift = _normalization(preprocess.mean, preprocess.std)
        values = square.to(torch.float32, memory_format=torch.contiguous_format)
        return np.asarray(values.mul_(scale).sub_(shift).numpy())


@cache
def _normalization(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[Tensor, Tensor]:
    """Return what grey levels are multiplied by, and what is taken off: each [3, 1, 1].

    Cheaper than the reference's table of levels, and equal to it but for float32 rounding.
    """
    deviations = torch.tensor(std, dtype=torch.float32, device="cpu").view(3, 1, 1)
    means = torch.tensor(mean, dtype=torch.float32, device="cpu").view(3, 1, 1)
    return 1 / (255 * deviations), means / deviations
