"""A picture becomes normalized float32 [3, size, size], as the checkpoint was evaluated.

The reference is `_transform` of openai/CLIP: short side to `size` by antialiased bicubic, center
crop, RGB, 0..1, minus mean, over standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from zeroshot.errors import ImageError
from zeroshot.images.opening import ImageLike, describe, open_image
from zeroshot.spec import Interpolation, PreprocessConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

Decode = Literal["exact", "fast"]
FAST_DECODE = 2  # times `size`: the least short side that a JPEG is decoded to when it must be fast
LONGEST = 100  # times the short side that the long side may have, and still be resampled whole


@dataclass(frozen=True)
class Preprocess(PreprocessConfig):
    """How a checkpoint's images are made; call it with any image.

    Size, mean, std, interpolation and resize mode are facts of the weights; `parity` and `decode`
    are options of `zeroshot.load`.
    """

    parity: bool = False  # OpenAI's order: resize before converting to RGB, ignore orientation
    decode: Decode = "exact"  # fast: large JPEGs decoded at a half or less

    def __call__(self, image: ImageLike) -> NDArray[np.float32]:
        """Return float32 [3, size, size].

        Raises ImageError for what cannot be read.
        """
        picture = self.open(image)
        try:
            square = self.resize(picture)
        except (ValueError, OSError) as error:  # modes that Pillow resamples or converts not
            raise ImageError(
                f"mode {picture.mode} cannot be resampled ({error}); convert it to RGB first",
                kind="decode_failed",
                source=describe(image),
            ) from error
        return self.normalize(np.asarray(square))

    def open(self, image: ImageLike) -> Image.Image:
        """Decode an image as far as this preprocessing needs."""
        at_least = FAST_DECODE * self.size if self.decode == "fast" else None
        return open_image(image, parity=self.parity, at_least=at_least)

    def resize(self, picture: Image.Image) -> Image.Image:
        """Resample to the square RGB picture that the network will see."""
        resampling, size = RESAMPLING[self.interpolation], self.size
        short, long = sorted(picture.size)
        width, height, left, top = self.geometry(*picture.size)
        if self.resize_mode == "squash" or long <= LONGEST * short:
            resized = picture.resize((width, height), resampling)
            square = resized.crop((left, top, left + size, top + size))
        else:
            # A one-pixel line would grow to gigabytes: resample only what the crop keeps. This
            # rounds a little differently, by two grey levels at most.
            across, down = picture.width / width, picture.height / height
            right = min((left + size) * across, picture.width)
            bottom = min((top + size) * down, picture.height)
            box = (left * across, top * down, right, bottom)
            square = picture.resize((size, size), resampling, box=box)
        return square if square.mode == "RGB" else square.convert("RGB")

    def geometry(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the size to resample a picture to, and where its crop begins: w, h, left, top.

        As torchvision computes them: the long side cut to whole pixels, the offset rounded half
        to even.
        """
        size, short = self.size, min(width, height)
        if self.resize_mode == "squash":
            return size, size, 0, 0
        new_width, new_height = int(size * width / short), int(size * height / short)
        return new_width, new_height, round((new_width - size) / 2), round((new_height - size) / 2)

    def normalize(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn grey levels [size, size, 3] into float32 [3, size, size]."""
        values = _normalized_levels(self.mean, self.std)
        return np.stack([values[c].take(levels[:, :, c]) for c in range(3)])


@cache
def _normalized_levels(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return what each grey level becomes in each channel: [3, 256].

    In the reference's order of float32 operations, so that pixels are equal to the last bit.
    """
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    channels = zip(mean, std, strict=True)
    return np.stack([(levels - np.float32(m)) / np.float32(s) for m, s in channels])
