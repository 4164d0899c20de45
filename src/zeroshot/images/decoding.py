"""Decode image files with an allow-list of Pillow's codecs, and convert any mode to upright RGB.

The size is checked before pixels are decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from zeroshot.errors import ImageProblem, image_error
from zeroshot.images.arrays import MAX_PIXELS, unit_range
from zeroshot.images.truncation import reject_early_end

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "HEIF", "JXL")
GREY_16_BIT = 257  # 65535 / 255
UPRIGHT = {  # EXIF orientation: what turns the stored image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(file: Any, name: str, at_least: int | None) -> Image.Image:
    """Decode a binary file; `name` is for messages, `at_least` the short side of a draft JPEG."""
    try:
        picture = _identified(file)
    except UnidentifiedImageError as error:
        raise image_error("not_image", name, _unidentified(file)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise image_error("too_many_pixels", name, f"it exceeds {MAX_PIXELS} pixels") from error
    except Exception as error:  # codecs raise anything at all on damaged headers
        raise image_error("decode_failed", name, f"its header is damaged ({error})") from error
    if at_least is not None and picture.format == "JPEG":
        picture.draft(None, (at_least, at_least))
    return load(picture, name)


def _identified(file: Any) -> Image.Image:
    """Open a file with the codecs of FORMATS; the rarer ones are imported when they are needed."""
    Image.preinit()
    try:
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        if not Image.init():  # nothing new
            raise
        file.seek(0)
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def _unidentified(file: Any) -> str:
    file.seek(0)
    head = file.read(16)
    if not head:
        return "it is empty"
    if head.lstrip()[:1] == b"<":
        return "it is a web page or SVG, not a picture of pixels"
    return f"it begins with {head[:8]!r} and is of none of the formats {', '.join(FORMATS[:9])}"


def load(picture: Image.Image, name: str) -> Image.Image:
    """Load the pixels of an image, once its size is known to be acceptable."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise image_error(
            "too_many_pixels", name, f"{width}x{height} exceeds {MAX_PIXELS} pixels; shrink it"
        )
    if not width or not height:
        raise image_error("bad_shape", name, f"its size is {width}x{height}")
    try:
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            reject_early_end(picture)
        picture.load()
    except Exception as error:  # codecs raise OSError, SyntaxError, struct.error, EOFError ...
        kind: ImageProblem = "truncated" if "truncated" in str(error) else "decode_failed"
        raise image_error(kind, name, f"its pixels cannot be decoded ({error})") from error
    return picture


def upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF or XMP orientation says; a damaged one says nothing."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the parser raises (or warns of) anything at all; the pixels are good
        return picture
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if method is None else picture.transpose(method)


def to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB without losing brightness."""
    mode = picture.mode
    if mode == "RGB":
        return picture
    if mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.float32)
        return _grey(grey / GREY_16_BIT)
    if mode == "I":
        grey = np.asarray(picture)
        if grey.min() < 0 or grey.max() > 65535:
            raise image_error(
                "bad_values", name, f"32-bit values {grey.min()}..{grey.max()}; scale to 0..65535"
            )
        return _grey(grey.astype(np.float32) / GREY_16_BIT)
    if mode == "F":
        return _grey(unit_range(np.asarray(picture), name) * 255)
    if mode == "P" and "transparency" in picture.info:
        # by way of RGBA: Pillow warns when palette transparency is given as bytes
        return picture.convert("RGBA").convert("RGB")
    return picture.convert("RGB")


def _grey(values: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
