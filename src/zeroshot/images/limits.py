"""Limit the size of images before their pixels are decoded."""

from __future__ import annotations

from zeroshot.errors import ImageError, image_error

MAX_PIXELS = 64_000_000  # width x height; an RGB image of that size takes 192 MB


def too_many_pixels(
    width: int, height: int, name: str, max_pixels: int, advice: str = ""
) -> ImageError:
    """Return the error for an image above the size limit."""
    return image_error(
        "too_many_pixels",
        name,
        f"{width}x{height} is {megapixels(width * height)}, the limit is "
        f"{megapixels(max_pixels)}; resize the image, or raise the limit with "
        f"zeroshot.load(..., max_pixels={width * height}) (on the command line --max-pixels)"
        f"{advice}",
    )


def megapixels(pixels: int) -> str:
    """Return a number of pixels for messages: "108 megapixels", "64.0001 megapixels"."""
    return f"{pixels / 1e6:.6g} megapixels"
