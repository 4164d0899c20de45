"""A picture becomes normalised float32 [3, size, size], as the checkpoint was evaluated.

The reference is `_transform` of openai/CLIP: short side to `size` by antialiased bicubic, centre
crop, RGB, 0..1, minus mean, over standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from zeroshot.errors import ImageError
from zeroshot.images import ImageLike, describe, open_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # clip/clip.py of openai/CLIP
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
Interpolation = Literal["bicubic", "bilinear"]
RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

LONGEST = 100  # times the short side that the long side may have, and still be resampled whole


@dataclass(frozen=True)
class Preprocess:
    """How a checkpoint wants its pixels; call it with any image."""

    size: int  # pixels, side of the square result
    mean: tuple[float, float, float] = OPENAI_MEAN  # of channel values in 0..1
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: Interpolation = "bicubic"
    resize_mode: Literal["shortest", "squash"] = "shortest"  # squash: both sides, no crop
    parity: bool = False  # OpenAI's order: resize before converting to RGB, ignore orientation

    def __call__(self, image: ImageLike) -> NDArray[np.float32]:
        """Return float32 [3, size, size].

        Raises ImageError for what cannot be read.
        """
        picture = open_image(image, parity=self.parity)
        try:
            square = self.resize(picture)
        except (ValueError, OSError) as error:  # modes that Pillow resamples or converts not
            raise ImageError(
                f"mode {picture.mode} cannot be resampled ({error}); convert it to RGB first",
                kind="decode_failed",
                source=describe(image),
            ) from error
        levels = np.asarray(square)  # uint8 [size, size, 3]
        values = _normalised_levels(self.mean, self.std)
        return np.stack([values[c].take(levels[:, :, c]) for c in range(3)])

    def resize(self, picture: Image.Image) -> Image.Image:
        """Resample to the square RGB picture that the network will see."""
        resampling, size = RESAMPLING[self.interpolation], self.size
        if self.resize_mode == "squash":
            square = picture.resize((size, size), resampling)
        else:
            square = self._crop(picture, resampling)
        return square if square.mode == "RGB" else square.convert("RGB")

    def _crop(self, picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
        """Bring the short side to `size` and cut the middle out of the long one."""
        size, (width, height) = self.size, picture.size
        short = min(width, height)
        # As torchvision computes them: the long side cut to whole pixels, the offset rounded
        # half to even.
        new_width, new_height = int(size * width / short), int(size * height / short)
        left, top = round((new_width - size) / 2.0), round((new_height - size) / 2.0)
        if max(width, height) <= LONGEST * short:
            resized = picture.resize((new_width, new_height), resampling)
            return resized.crop((left, top, left + size, top + size))
        # A one-pixel line would grow to gigabytes: resample only what the crop keeps. This
        # rounds a little differently, by two grey levels at most.
        across, down = width / new_width, height / new_height
        right, bottom = min((left + size) * across, width), min((top + size) * down, height)
        box = (left * across, top * down, right, bottom)
        return picture.resize((size, size), resampling, box=box)


@cache
def _normalised_levels(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return what each grey level becomes in each channel: [3, 256].

    In the reference's order of float32 operations, so that pixels are equal to the last bit.
    """
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    channels = zip(mean, std, strict=True)
    return np.stack([(levels - np.float32(m)) / np.float32(s) for m, s in channels])
