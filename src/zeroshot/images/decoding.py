"""Decode image files and convert any mode to upright RGB.

Only an allow-list of Pillow's codecs is used. The size is checked before pixels are decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from zeroshot.errors import ImageProblem, image_error, shortened
from zeroshot.images.arrays import MAX_PIXELS, check_unit_range
from zeroshot.images.truncation import reject_truncated

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "HEIF", "JXL")
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


def decode(file: Any, name: str, at_least: int | None) -> Image.Image:
    """Decode a binary file.

    `name` is for messages. A JPEG may be decoded at a reduced size whose short side has `at_least`
    pixels. Raises ImageError for files that cannot be decoded.
    """
    try:
        image = _open(file)
    except UnidentifiedImageError as error:
        raise image_error("not_image", name, _describe_unknown(file)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise image_error(
            "too_many_pixels", name, f"the image exceeds {MAX_PIXELS} pixels; resize it"
        ) from error
    except Exception as error:  # codecs raise any exception for corrupted headers
        raise image_error(
            "decode_failed", name, f"the image header is corrupted ({shortened(str(error), 200)})"
        ) from error
    if at_least is not None and image.format == "JPEG":
        image.draft(None, (at_least, at_least))
    return load(image, name)


def _open(file: Any) -> Image.Image:
    """Open a file with the codecs of FORMATS; import the rarer ones only if needed."""
    Image.preinit()
    try:
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        if not Image.init():  # no further codecs
            raise
        file.seek(0)
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def _describe_unknown(file: Any) -> str:
    """Describe a file that no codec recognizes."""
    file.seek(0)
    head = file.read(16)
    if not head:
        return "the file is empty; expected an image"
    if head.lstrip()[:1] == b"<":
        return "the file is a web page or SVG; expected a raster image"
    return (
        f"unsupported image format: the file begins with {head[:8]!r}; expected "
        f"{', '.join(FORMATS[:9])}"
    )


def load(image: Image.Image, name: str) -> Image.Image:
    """Load the pixels of an image after checking its size.

    Raises ImageError.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise image_error(
            "too_many_pixels", name, f"{width}x{height} exceeds {MAX_PIXELS} pixels; resize it"
        )
    if not width or not height:
        raise image_error(
            "bad_shape", name, f"expected an image with pixels, got the size {width}x{height}"
        )
    try:
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            reject_truncated(image)
        image.load()
    except Exception as error:  # codecs raise OSError, SyntaxError, struct.error, EOFError ...
        kind: ImageProblem = "truncated" if "truncated" in str(error) else "decode_failed"
        raise image_error(
            kind, name, f"cannot decode the pixels ({shortened(str(error), 200)})"
        ) from error
    return image


def to_upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """Rotate an image upright and convert it to RGB.

    Raises ImageError for values outside of their range.
    """
    return _to_rgb(_rotate_upright(image), name)


def _rotate_upright(image: Image.Image) -> Image.Image:
    """Rotate an image according to its EXIF or XMP orientation.

    A malformed orientation is ignored.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the parser raises (or warns about) anything; the pixels are valid
        return image
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB, with 16-bit and float values scaled to 0..255."""
    mode = image.mode
    if mode == "RGB":
        return image
    if mode.startswith("I;16"):
        gray = np.asarray(image).astype(np.float32)
        return _gray(gray / GRAY_16_BIT)
    if mode == "I":
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise image_error(
                "bad_values",
                name,
                f"expected 32-bit values in 0..65535, got {gray.min()}..{gray.max()}; scale them",
            )
        return _gray(gray.astype(np.float32) / GRAY_16_BIT)
    if mode == "F":
        return _gray(check_unit_range(np.asarray(image), name) * 255)
    if mode == "P" and "transparency" in image.info:
        # Convert through RGBA: Pillow warns when palette transparency is given as bytes.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _gray(values: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
