"""Resample images with torch's antialiased operator for bytes.

It takes half of Pillow's time. The result differs from `zeroshot.images.preprocess` by at most one
gray level. The plain version is the reference: float32 models use it, and all models for images
that are enlarged or tall, where torch would differ by more.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.backend import Loaded
from zeroshot.engine.pillow_memory import gray_levels
from zeroshot.images import ImageLike
from zeroshot.images.jpeg import find_decoder
from zeroshot.images.preprocess import LONGEST, Preprocess

TALL = 1.95  # height / width from which Pillow 13 may resample vertically first, unlike torch
Pixels = Image.Image | NDArray[np.uint8]  # an RGB image, or uint8 [height, width, 3]


class Resampler:
    """Base of the backends that make pixels on the CPU.

    `dtype` is the precision of the network. For float32 the pixels equal the reference; lower
    precisions round more than resampling does.
    """

    dtype: torch.dtype

    def prepare(self, image: ImageLike, preprocess: Preprocess) -> NDArray[np.float32]:
        """Convert an image to normalized pixels: float32 [3, size, size] or [3, height, width]."""
        if preprocess.parity or self.dtype == torch.float32:
            return preprocess(image)
        return resample(preprocess.open_pixels(image), preprocess)

    def load(self, image: ImageLike, preprocess: Preprocess) -> Loaded:
        """Convert an image as `prepare` does."""
        return self.prepare(image, preprocess)

    def describe_decoder(self, preprocess: Preprocess) -> str:
        """Return what decodes ordinary JPEG files, and its version."""
        if preprocess.parity or self.dtype == torch.float32:
            return f"Pillow {PIL.__version__}"
        return str(find_decoder())

    def decode(self, images: list[Any]) -> list[Any]:
        """Return the images: they are decoded."""
        return images


def levels(image: ImageLike, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Open an image and resample it to gray levels: uint8 [3, size, size] or [3, height, width].

    They are those of `preprocess.levels` to within one gray level, in less time. A backend
    normalizes them on its device. Raises ImageError if the image cannot be read.
    """
    if preprocess.parity:
        return preprocess.levels(image)
    return resample_levels(preprocess.open_pixels(image), preprocess)


def resample_levels(
    image: Pixels, preprocess: Preprocess, *, exact: bool = False
) -> NDArray[np.uint8]:
    """Resample an RGB image to gray levels: uint8 [3, size, size] or [3, height, width].

    With `exact` they are those of `preprocess.levels`.
    """
    with torch.inference_mode():
        return np.asarray(_resized(image, preprocess, exact).contiguous().numpy())


def resample(image: Pixels, preprocess: Preprocess) -> NDArray[np.float32]:
    """Convert an RGB image to normalized pixels: float32 [3, size, size] or [3, height, width]."""
    with torch.inference_mode():
        found = _resized(image, preprocess)
        scale, shift = _normalization(preprocess.mean, preprocess.std)
        values = found.to(torch.float32, memory_format=torch.contiguous_format)
        return np.asarray(values.mul_(scale).sub_(shift).numpy())


def _resized(image: Pixels, preprocess: Preprocess, exact: bool = False) -> Tensor:
    """Resample an RGB image: uint8 [3, size, size] or [3, height, width]."""
    across, down = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
    width, height, left, top = preprocess.geometry(across, down)
    if exact or not is_usual(down, across, preprocess):
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        return torch.from_numpy(np.array(preprocess.resize(picture))).permute(2, 0, 1)
    pixels, owner = gray_levels(image)
    resized = F.interpolate(
        pixels, size=(height, width), mode=preprocess.interpolation, antialias=True
    )
    del pixels, owner
    resized = resized.squeeze(0)
    if preprocess.resize_mode == "shortest":
        # slices would take three times as long under Python's lock
        resized = resized.narrow(1, top, preprocess.size).narrow(2, left, preprocess.size)
    return resized.narrow(0, 0, 3)


def is_usual(down: int, across: int, preprocess: Preprocess) -> bool:
    """Return whether Pillow resamples an image of this height and width as a whole, columns first.

    Enlarged images, which torch resamples differently by two levels, are not usual either.
    """
    width, height, _, _ = preprocess.geometry(across, down)
    long = max(across, down) > LONGEST * min(across, down)
    return width <= across and height <= down and not long and down <= TALL * across


@cache
def _normalization(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[Tensor, Tensor]:
    """Return the factor and the offset for gray levels: each [3, 1, 1].

    This is faster than the reference's table of levels and differs only by float32 rounding.
    """
    deviations = torch.tensor(std, dtype=torch.float32, device="cpu").view(3, 1, 1)
    means = torch.tensor(mean, dtype=torch.float32, device="cpu").view(3, 1, 1)
    return 1 / (255 * deviations), means / deviations
