"""Open an image file with one of Pillow's codecs, chosen by the first bytes of the file.

`Image.open` tries codecs in turn, hides the reason of a failure, and compares the size with a limit
that is process-wide. Here a file is opened by one codec, its error is reported, and the limit is an
argument. HEIC and JPEG XL are decoded by packages that are imported on the first such file.
"""

from __future__ import annotations

import importlib
import re
import struct
from typing import Any, BinaryIO

from PIL import Image

from zeroshot.errors import ImageError, image_error, shortened
from zeroshot.images.formats import DECODED, HEAD, recognize
from zeroshot.images.jxl import read_jxl_size
from zeroshot.images.limits import too_many_pixels

EXPECTED = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, PPM, HEIC or JPEG XL"
CAMERA_RAW = (".cr2", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw")
EXTRAS = {  # format -> name for messages, module, extra of this package
    "HEIF": ("HEIC", "pillow_heif", "heif"),
    "JXL": ("JPEG XL", "pillow_jxl", "jxl"),
}


def open_codec(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Open a file with the codec of its format; the pixels are not decoded.

    `name` is for messages. Raises ImageError.
    """
    head = file.read(HEAD)
    file.seek(0)
    found = recognize(head)
    if found is None or found.name not in DECODED:
        raise _unsupported(head, name)
    if name.lower().endswith(CAMERA_RAW) and found.name == "TIFF":  # holds only a preview
        raise image_error(
            "unsupported_format", name, "camera RAW is not supported; convert it to JPEG or TIFF"
        )
    _register(found.name, name)
    if found.name == "JXL":  # its codec decodes all pixels on opening
        try:
            width, height = read_jxl_size(file)
        except ValueError as error:
            raise codec_error("JXL", error, name) from error
        if width * height > max_pixels:
            raise too_many_pixels(width, height, name, max_pixels)
        file.seek(0)
    factory, accept = Image.OPEN[found.name]
    accepted = accept is None or accept(head[:16])
    if isinstance(accepted, str) or not accepted:
        reason = f" ({shortened(str(accepted), 200)})" if accepted else ""
        raise image_error(
            "unsupported_format",
            name,
            f"the installed Pillow cannot decode {found.name} images{reason}; convert it to PNG",
        )
    try:
        return factory(file, "")
    except Exception as error:  # codecs raise any exception for corrupted headers
        raise codec_error(found.name, error, name) from error


def codec_error(format_: str | None, error: Exception, name: str) -> ImageError:
    """Return the ImageError for an exception of a codec."""
    text = shortened(" ".join(str(error).split()) or type(error).__name__, 200)
    what = f"{format_} image" if format_ else "image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return image_error(
            "too_many_pixels",
            name,
            f"Pillow's own limit rejects the {what} ({text}); resize it, or raise that limit "
            "with PIL.Image.MAX_IMAGE_PIXELS",
        )
    if re.search("unknown|unsupported|not supported|cannot handle", text, re.IGNORECASE):
        return image_error(
            "unsupported_format",
            name,
            f"unsupported or corrupted {what} ({text}); convert it to 8-bit RGB PNG or JPEG",
        )
    short = re.search("truncated|end of file|EOF|not enough data|a buffer of", text, re.IGNORECASE)
    if short or isinstance(error, struct.error | EOFError | IndexError):
        return image_error(
            "truncated" if short else "decode_failed",
            name,
            f"the file is a truncated or corrupted {what} ({text}); copy or download it again",
        )
    return image_error(
        "decode_failed",
        name,
        f"the file is a corrupted {what} ({text}); copy or download it again",
    )


def _register(format_: str, name: str) -> None:
    """Make the codec of a format available in Pillow, once."""
    if format_ in Image.OPEN:
        return
    if format_ not in EXTRAS:
        Image.preinit()
        if format_ not in Image.OPEN:
            Image.init()
        return
    title, module, extra = EXTRAS[format_]
    try:
        plugin: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise image_error(
            "unsupported_format",
            name,
            f"{title} images require an extra: pip install 'zeroshot-clip[{extra}]'",
        ) from error
    except Exception as error:  # a shared library is missing, or of another Python
        raise image_error(
            "unsupported_format",
            name,
            f"cannot import {module} for {title} images ({shortened(str(error), 200)}); "
            f"reinstall it: pip install --force-reinstall 'zeroshot-clip[{extra}]'",
        ) from error
    if hasattr(plugin, "register_heif_opener"):  # pillow_jxl registers itself on import
        plugin.register_heif_opener()


def _unsupported(head: bytes, name: str) -> ImageError:
    """Return the error for a file that is not of a supported format."""
    found = recognize(head)
    if not head:
        return image_error("not_image", name, "the file is empty; expected an image")
    if found is None:
        return image_error(
            "not_image",
            name,
            f"unknown file format: the file begins with {head[:8]!r}; expected {EXPECTED}",
        )
    if found.is_image:
        return image_error(
            "unsupported_format",
            name,
            f"unsupported image format {found.name}; convert it to PNG or JPEG, or open it with "
            f"Pillow and pass the image; expected {EXPECTED}",
        )
    return image_error("not_image", name, f"expected an image, got {found.name}")
