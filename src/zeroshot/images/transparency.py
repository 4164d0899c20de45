"""Composite transparent images on a background, or warn that their hidden colors are used.

The reference drops transparency: a black logo on a transparent background becomes a black image.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from zeroshot.arguments import integer
from zeroshot.errors import InputError, shortened

Background = str | tuple[int, int, int] | None
Color = tuple[int, int, int]
SAMPLE = 64  # pixels of each side that are compared for the warning
DIFFERENT = 16  # mean difference in gray levels above which a warning is logged
MODES = ("RGBA", "LA", "PA", "P", "RGB", "L", "1", "RGBa")  # that Pillow converts to RGBA
log = logging.getLogger("zeroshot")
_warned: list[bool] = []  # not empty after the first warning


def parse_background(background: Background) -> Color | None:
    """Return the color of a background: None, a name such as "white", or (r, g, b) in 0..255.

    Raises InputError.
    """
    if background is None:
        return None
    problem = InputError(
        f"expected background='white', 'black', (r, g, b) with integers in 0..255 or None, got "
        f"{shortened(repr(background))}"
    )
    if isinstance(background, str):
        try:
            return ImageColor.getrgb(background)[:3]
        except ValueError:
            raise problem from None
    if not isinstance(background, tuple | list) or len(background) != 3:
        raise problem
    levels = [level for level in map(integer, background) if level is not None]
    if len(levels) != 3 or not all(0 <= level <= 255 for level in levels):
        raise problem
    red, green, blue = levels
    return red, green, blue


def composite(image: Image.Image, rgb: Image.Image, color: Color) -> Image.Image:
    """Return `rgb`, the colors of `image`, on a background where `image` is transparent."""
    return Image.composite(rgb, Image.new("RGB", rgb.size, color), _alpha(image))


def warn_of_hidden_colors(image: Image.Image, name: str) -> None:
    """Log one warning per process if an image differs much from what a viewer shows on white."""
    if _warned or image.mode not in MODES:
        return
    small = image.resize(
        (min(image.width, SAMPLE), min(image.height, SAMPLE)), Image.Resampling.NEAREST
    )
    small.info = image.info
    colors = small.convert("RGBA").convert("RGB")
    shown = composite(small, colors, (255, 255, 255))
    difference = np.abs(np.asarray(shown, np.int16) - np.asarray(colors, np.int16)).mean()
    if difference > DIFFERENT:
        _warned.append(True)
        log.warning(
            "%s: the image is transparent, and the hidden colors of its transparent pixels are "
            "used, as in OpenAI's preprocessing; to see it on a background, use "
            "zeroshot.load(..., background='white') (on the command line --background white). This "
            "warning is shown once.",
            shortened(name, 200),
        )


def _alpha(image: Image.Image) -> Image.Image:
    """Return the opacity of an image with transparency: mode L."""
    if image.mode.startswith("I"):  # 16-bit gray with one transparent level
        level: Any = image.info["transparency"]
        return Image.fromarray((np.asarray(image) != level).astype(np.uint8) * 255)
    return image.convert("RGBA").getchannel("A")
