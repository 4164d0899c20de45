"""Decode JPEG files with simplejpeg, an extra, where the pixels equal Pillow's.

simplejpeg calls the library that Pillow calls, takes less time and releases Python's lock for all
of it. It is asked for a file only if Pillow would open that file without an error or a warning.
Every other file is declined, and so is one that simplejpeg rejects in its strict mode: Pillow then
decodes the file or reports the error. At first use both decode a few small pictures. If a pixel
differs, because they contain different versions of the library, simplejpeg is not used.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import PIL
from PIL import Image

from zeroshot.errors import shortened
from zeroshot.images.formats import HEAD, recognize
from zeroshot.images.jpeg_header import Header, read_header
from zeroshot.images.locks import get_lock

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOWEST = (1, 9)  # version of simplejpeg that was compared with Pillow
LARGEST = 100_000_000  # bytes of a file; Pillow reads a larger one piece by piece
END = b"\xff\xd9"
REDUCTIONS = (8, 4, 2, 1)  # Pillow's `draft` decodes at these parts of the size
COLORS = ("YCbCr", "RGB", "Gray")
EXACT = {"fastdct": False, "fastupsample": False, "strict": True}  # also simplejpeg's defaults
SAMPLES: tuple[dict[str, Any], ...] = (  # of the probe, as options of Pillow's encoder
    {"subsampling": "4:2:0"},
    {"subsampling": "4:2:2"},
    {"subsampling": "4:4:4"},
    {"subsampling": "4:2:0", "progressive": True},
)
PIXEL = "V3"  # numpy's type of three bytes: turns an image in half of the time
INSTALL = "pip install 'zeroshot-clip[fast]'"
log = logging.getLogger("zeroshot")
_warned: list[Decoder] = []


@dataclass(frozen=True)
class Decoder:
    """The decoder of ordinary JPEG files: simplejpeg, or Pillow for the reason given."""

    library: Any | None  # the module simplejpeg
    version: str
    reason: str = ""  # why simplejpeg is not used
    is_installed: bool = True  # simplejpeg, usable or not

    def __str__(self) -> str:
        name = "Pillow" if self.library is None else "simplejpeg"
        return f"{name} {self.version}" + f", {self.reason}" * bool(self.reason)


@dataclass(frozen=True)
class JpegFile:
    """An ordinary JPEG file that another device decodes."""

    content: bytes
    header: Header
    name: str  # for messages


def read_jpeg(file: BinaryIO, name: str, max_pixels: int, largest: int) -> JpegFile | None:
    """Read a JPEG file of at most `largest` bytes for another decoder, or decline it.

    Only a file that ends in the marker of an end is accepted, because such decoders fill what is
    missing. None means that the file must be decoded here; its position is its start.
    """
    content = _read(file, largest)
    file.seek(0)
    if content is None or not content.endswith(END):
        return None
    header = read_header(content)
    if header is None or header.is_rgb or header.width * header.height > max_pixels:
        return None
    return JpegFile(content, header, name)


def decode_jpeg(file: BinaryIO, at_least: int | None, max_pixels: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG file, or decline it.

    The pixels are uint8 [height, width, 3], upright and equal to those of `decoding.decode` with
    the same arguments. None means that Pillow must decode the file, whose position is its start.
    """
    try:
        if (content := _read(file, LARGEST)) is not None and (library := find_decoder().library):
            pixels = _decode(library, content, at_least, max_pixels)
            if pixels is not None:
                return pixels
    except Exception as error:  # simplejpeg also raises KeyError, for an unusual subsampling
        log.debug("a JPEG file is left to Pillow: %r", error)  # which reports what is wrong
    file.seek(0)
    return None


@cache
def find_decoder() -> Decoder:
    """Return the decoder of ordinary JPEG files; the first call compares it with Pillow."""
    try:
        library = importlib.import_module("simplejpeg")
        version = str(library.__version__)
        lowest = ".".join(map(str, LOWEST))
        if tuple(map(int, version.split(".")[:2])) < LOWEST:
            return _use_pillow(f"because simplejpeg {version} is older than {lowest}; {INSTALL}")
        same = all(_is_equal(library, sample) for sample in SAMPLES)
    except ModuleNotFoundError:
        reason = f"because simplejpeg is not installed; {INSTALL}"
        return Decoder(None, PIL.__version__, reason, is_installed=False)
    except Exception as error:  # a damaged installation, which must not affect other images
        return _use_pillow(f"because simplejpeg fails ({shortened(repr(error), 150)})")
    if same:
        return Decoder(library, version)
    found = _use_pillow(f"because the pixels of simplejpeg {version} differ")
    _warn_once(
        "JPEG files are decoded by %s. Embeddings are correct, but decoding is slower; upgrade "
        "Pillow and simplejpeg so that both contain the same libjpeg-turbo, or uninstall "
        "simplejpeg to silence this warning, which is shown once.",
        found,
    )
    return found


def _warn_once(message: str, found: Decoder) -> None:
    """Log a warning unless it was logged: threads that meet their first image at once all probe."""
    with get_lock(_warned):
        if found not in _warned:
            _warned.append(found)
            log.warning(message, found)


def _use_pillow(reason: str) -> Decoder:
    return Decoder(None, PIL.__version__, reason)


def _is_equal(library: Any, options: dict[str, Any]) -> bool:
    """Return whether both decoders give the same pixels for a small picture."""
    content, expected = make_sample(**options)
    found = _decode(library, content, None, expected.size)
    return found is not None and np.array_equal(found, expected)


def make_sample(**options: Any) -> tuple[bytes, NDArray[np.uint8]]:
    """Return a small JPEG file and Pillow's pixels of it; `options` are those of its encoder."""
    rows, columns = np.mgrid[:32, :48]
    waves = [np.sin(rows * f / 9 + columns / (f + 2)) for f in (1, 3, 8)]
    picture = np.stack([np.rint(127.5 + 127 * wave) for wave in waves], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=85, **options)
    with Image.open(buffer) as image:
        return buffer.getvalue(), np.asarray(image)


def _read(file: BinaryIO, largest: int) -> bytes | None:
    """Return the content of a JPEG file, or None for another format and for a larger file."""
    found = recognize(file.read(HEAD))
    if found is None or found.name != "JPEG" or file.seek(0, os.SEEK_END) > largest:
        return None
    file.seek(0)
    return file.read()


def _decode(
    library: Any, content: bytes, at_least: int | None, max_pixels: int
) -> NDArray[np.uint8] | None:
    """Decode the content of a JPEG file. Raises ValueError if strict decoding fails."""
    header = read_header(content)
    if header is None:
        return None
    height, width, color, _ = library.decode_jpeg_header(content, strict=True)
    if (height, width) != (header.height, header.width) or color not in COLORS:
        return None
    part = _reduction(header, at_least)
    rows, columns = -(-height // part), -(-width // part)
    if rows * columns > max_pixels:
        return None
    least = {} if part == 1 else {"min_height": rows, "min_width": columns}
    pixels: NDArray[np.uint8] = library.decode_jpeg(content, "RGB", **least, **EXACT)
    return turn(pixels, header.orientation) if pixels.shape == (rows, columns, 3) else None


def _reduction(header: Header, at_least: int | None) -> int:
    """Return by how much Pillow's `draft` divides the sides of an image."""
    if at_least is None:
        return 1
    times = min(header.width, header.height) // at_least
    return next((part for part in REDUCTIONS if times >= part), 1)


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn contiguous pixels [height, width, 3] upright, from an EXIF orientation of 1 to 8."""
    if orientation == 1:
        return pixels
    image = pixels.view(PIXEL)[:, :, 0]
    if orientation >= 5:  # the stored rows are columns
        image = image.T
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    upright = np.ascontiguousarray(image[::down, ::right])
    return upright.view(np.uint8).reshape(*upright.shape, 3)
