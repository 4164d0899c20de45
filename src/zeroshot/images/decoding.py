"""Decode image files and convert any mode to upright RGB.

Only an allow-list of Pillow's codecs is used. The size is checked before pixels are decoded.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

from zeroshot.errors import image_error
from zeroshot.images.arrays import check_unit_range
from zeroshot.images.jxl import is_rotated_by_codec
from zeroshot.images.limits import MAX_PIXELS, too_many_pixels
from zeroshot.images.pillow_codecs import codec_error, open_codec
from zeroshot.images.transparency import Color, composite
from zeroshot.images.truncation import reject_truncated

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAST_SIDE = 2000  # short side from which decode="fast" reduces a JPEG for every input size
EIGHT_BIT = 255  # integer images whose values do not exceed this hold 8-bit values
GRAY_16_BIT = 257  # 65535 / 255
UPRIGHT = {  # EXIF orientation -> operation that turns the stored image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(file: Any, name: str, at_least: int | None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a binary file.

    `name` is for messages. A JPEG may be decoded at a reduced size whose short side has `at_least`
    pixels. Raises ImageError for files that cannot be decoded, and for images of more than
    `max_pixels`.
    """
    image = open_codec(file, name, max_pixels)
    if image.format == "JPEG":
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        elif min(image.size) >= FAST_SIDE and 1 < image.width * image.height / max_pixels <= 64:
            advice = ", or load the model with decode='fast', which reduces large JPEGs"
            raise too_many_pixels(*image.size, name, max_pixels, advice)
    return load(image, name, max_pixels)


def load(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Load the pixels of an image after checking its size.

    Raises ImageError.
    """
    width, height = image.size
    if width * height > max_pixels:
        raise too_many_pixels(width, height, name, max_pixels)
    if not width or not height:
        raise image_error(
            "bad_shape", name, f"expected an image with pixels, got the size {width}x{height}"
        )
    if _is_closed(image):
        raise image_error(
            "decode_failed",
            name,
            "the PIL image is closed and its pixels were not loaded; pass it inside the with "
            "block, or call image.load() there",
        )
    try:
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            reject_truncated(image)
        image.load()
    except Exception as error:  # codecs raise OSError, SyntaxError, struct.error, EOFError ...
        raise codec_error(image.format, error, name) from error
    return image


def _is_closed(image: Image.Image) -> bool:
    """Return whether a PIL image was closed before its pixels were loaded."""
    with suppress(AssertionError):  # not loaded yet
        try:
            image.im  # noqa: B018  (raises ValueError after close())
        except ValueError:
            return True
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return False
    return image.fp is None or bool(getattr(image.fp, "closed", False))


def to_upright_rgb(image: Image.Image, name: str, background: Color | None = None) -> Image.Image:
    """Rotate an image upright and convert it to RGB, on a background if one is given.

    Raises ImageError for values outside of their range.
    """
    upright = _rotate_upright(image)
    if background is not None:
        return flatten(upright, name, background)
    return _to_rgb(upright, name)


def flatten(image: Image.Image, name: str, background: Color) -> Image.Image:
    """Return a transparent image as RGB on a background."""
    return composite(image, _to_rgb(image, name), background)


def _rotate_upright(image: Image.Image) -> Image.Image:
    """Rotate an image according to its EXIF or XMP orientation.

    A malformed orientation is ignored. So is one that the codec of the file has applied.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the parser raises (or warns about) anything; the pixels are valid
        return image
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if method is None or is_rotated_by_codec(image):
        return image
    return image.transpose(method)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB, with 16-bit and float values scaled to 0..255.

    Modes I and I;16 do not say how many bits are used. An image without a value above 255 holds
    8-bit values, which are kept; others are divided by 257.
    """
    mode = image.mode
    if mode == "RGB":
        return image
    if mode.startswith("I;16"):
        return _gray(_scale_to_8_bit(np.asarray(image)))
    if mode == "I":
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise image_error(
                "bad_values",
                name,
                f"expected 32-bit values in 0..65535, got {gray.min()}..{gray.max()}; scale them",
            )
        return _gray(_scale_to_8_bit(gray))
    if mode == "F":
        return _gray(check_unit_range(np.asarray(image), name) * 255)
    if mode == "P" and "transparency" in image.info:
        # Convert through RGBA: Pillow warns when palette transparency is given as bytes.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _gray(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _scale_to_8_bit(gray: NDArray[Any]) -> NDArray[Any]:
    """Scale 16-bit values to 0..255; 8-bit values in a wider type are kept."""
    return gray if gray.max() <= EIGHT_BIT else gray.astype(np.float32) / GRAY_16_BIT
