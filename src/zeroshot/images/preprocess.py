"""Convert images to the normalized pixels that a checkpoint was evaluated with.

The reference is `_transform` of openai/CLIP: resize the short side to `size` with antialiased
bicubic interpolation, center crop, convert to RGB in 0..1, subtract the mean, divide by the
standard deviation. Models that keep the aspect ratio follow `Siglip2ImageProcessorPil` of
transformers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from zeroshot.arguments import count, flag, one_of
from zeroshot.errors import ImageError
from zeroshot.images.jpeg import JpegFile
from zeroshot.images.limits import MAX_PIXELS
from zeroshot.images.opening import (
    ImageLike,
    describe,
    open_encoded,
    open_image,
    open_pixels,
)
from zeroshot.images.transparency import Background, parse_background
from zeroshot.spec import Interpolation, PreprocessConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

Decode = Literal["exact", "fast"]
FAST_DECODE = 2  # times `size`: minimum short side of a JPEG that is decoded at a reduced size
SCALES = 1e-6, 100.0  # range of the factor of both sides that is searched for a grid
PRECISION = 1e-5  # of that factor
LONGEST = 100  # aspect ratio above which only the part inside the crop is resampled


@dataclass(frozen=True)
class Preprocess(PreprocessConfig):
    """How a checkpoint preprocesses images; call it with any image.

    Size, mean, std, interpolation, resize mode and patches belong to the weights; `parity`,
    `decode`, `max_pixels` and `background` are options of `zeroshot.load`.
    """

    parity: bool = False  # OpenAI's order: resize before converting to RGB, ignore orientation
    decode: Decode = "exact"  # "fast": decode large JPEGs at a reduced size, or JPEGs on a GPU
    max_pixels: int = MAX_PIXELS  # images with more pixels are rejected
    background: Background = None  # color behind transparent images; None drops transparency

    def __post_init__(self) -> None:
        check_options(self.parity, self.decode, self.max_pixels, self.background)

    def __call__(self, image: ImageLike) -> NDArray[np.float32]:
        """Return normalized pixels: float32 [3, size, size], or [3, height, width] for "aspect".

        Raises ImageError if the image cannot be read.
        """
        return self.normalize(np.asarray(self._resized(image)))

    def levels(self, image: ImageLike) -> NDArray[np.uint8]:
        """Return gray levels before normalization: uint8 [3, size, size], or [3, height, width].

        `normalize(levels.transpose(1, 2, 0))` is what a call returns. Raises ImageError if the
        image cannot be read.
        """
        levels = np.asarray(self._resized(image))
        return np.ascontiguousarray(levels.transpose(2, 0, 1))

    def _resized(self, image: ImageLike) -> Image.Image:
        """Open an image and resample it to the RGB image that the network receives."""
        opened = self.open(image)  # Pillow resamples an array in no less time: it copies it first
        try:
            return self.resize(opened)
        except (ValueError, OSError) as error:  # modes that Pillow cannot resample or convert
            raise ImageError(
                f"unsupported image mode {opened.mode} ({error}); convert it to RGB first",
                kind="decode_failed",
                source=describe(image),
            ) from error

    def open(self, image: ImageLike) -> Image.Image:
        """Decode an image, at a reduced size if this preprocessing allows it."""
        return open_image(
            image,
            parity=self.parity,
            at_least=self._at_least,
            max_pixels=self.max_pixels,
            background=self.background,
        )

    def open_pixels(self, image: ImageLike) -> Image.Image | NDArray[np.uint8]:
        """Decode an image as `open` does without parity, as uint8 [h, w, 3] if that is faster."""
        return open_pixels(
            image,
            at_least=self._at_least,
            max_pixels=self.max_pixels,
            background=self.background,
        )

    def open_encoded(
        self, image: ImageLike, largest: int
    ) -> Image.Image | NDArray[np.uint8] | JpegFile:
        """Open an image as `open_pixels` does, but leave an ordinary JPEG for another decoder."""
        return open_encoded(
            image,
            largest=largest,
            at_least=self._at_least,
            max_pixels=self.max_pixels,
            background=self.background,
        )

    @property
    def _at_least(self) -> int | None:
        """Least short side of a JPEG that is decoded at a reduced size; None for no reduction."""
        return FAST_DECODE * self.square if self.decode == "fast" else None

    def resize(self, image: Image.Image) -> Image.Image:
        """Resample to the RGB image that the network receives, which is square unless "aspect"."""
        resampling, size = RESAMPLING[self.interpolation], self.size
        short, long = sorted(image.size)
        width, height, left, top = self.geometry(*image.size)
        if self.resize_mode != "shortest":
            square = image.resize((width, height), resampling)
        elif long <= LONGEST * short:
            resized = image.resize((width, height), resampling)
            square = resized.crop((left, top, left + size, top + size))
        else:
            # A one-pixel line would grow to gigabytes: resample only the part inside the crop.
            # This rounds differently, by at most two gray levels.
            across, down = image.width / width, image.height / height
            right = min((left + size) * across, image.width)
            bottom = min((top + size) * down, image.height)
            box = (left * across, top * down, right, bottom)
            square = image.resize((size, size), resampling, box=box)
        return square if square.mode == "RGB" else square.convert("RGB")

    def geometry(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the size to resample an image to, and the corner of the crop.

        The result is width, height, left, top. The values are those of torchvision: the long side
        is rounded down to whole pixels, the offset is rounded half to even.
        """
        size, short = self.size, min(width, height)
        if self.resize_mode == "squash":
            return size, size, 0, 0
        if self.resize_mode == "aspect":
            rows, columns = choose_grid(height, width, self.patch, self.max_patches)
            return columns * self.patch, rows * self.patch, 0, 0
        new_width, new_height = int(size * width / short), int(size * height / short)
        return new_width, new_height, round((new_width - size) / 2), round((new_height - size) / 2)

    def normalize(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert gray levels uint8 [height, width, 3] to float32 [3, height, width]."""
        values = _normalized_levels(self.mean, self.std)
        return np.stack([values[c].take(levels[:, :, c]) for c in range(3)])


@lru_cache(maxsize=1024)
def choose_grid(height: int, width: int, patch: int, most: int) -> tuple[int, int]:
    """Return the rows and columns of patches that an image is resized to.

    They are those of the largest scale at which the image has at most `most` patches, if both
    sides are rounded up. The scale is searched by bisection with the bounds and the precision of
    `get_image_size_for_max_num_patches` in transformers, because they decide which of two grids an
    image gets.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        patch: Side of a patch, in pixels.
        most: The largest number of patches.

    Returns:
        Rows and columns, each at least 1.
    """

    def count(side: int, scale: float) -> int:
        return max(1, math.ceil(side * scale / patch))

    low, high = SCALES
    while high - low >= PRECISION:
        scale = (low + high) / 2
        if count(height, scale) * count(width, scale) <= most:
            low = scale
        else:
            high = scale
    return count(height, low), count(width, low)


def check_options(
    parity: object, decode: object, max_pixels: object, background: Background
) -> None:
    """Raise InputError for an invalid option of a Preprocess."""
    flag("parity", parity)
    one_of("decode", decode, get_args(Decode))
    count("max_pixels", max_pixels, 1, f"; the default is {MAX_PIXELS}")
    parse_background(background)


@cache
def _normalized_levels(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return the normalized value of each gray level in each channel: [3, 256].

    The float32 operations have the order of the reference, so pixels are equal to the last bit.
    """
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    channels = zip(mean, std, strict=True)
    return np.stack([(levels - np.float32(m)) / np.float32(s) for m, s in channels])
