"""Read the size and orientation of a JPEG XL image from its header.

The decoder of `pillow_jxl` decodes all pixels on opening, so the size limit has to be checked
before it is called. It also rotates the pixels and leaves the orientation in the EXIF data. This
module can be deleted if that package opens files without decoding them and resets the orientation.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

CODESTREAM = b"\xff\x0a"
SIDE_BITS = (9, 13, 18, 30)  # widths of the four encodings of a side
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width : height


def read_jxl_size(file: BinaryIO) -> tuple[int, int]:
    """Return width and height of a JPEG XL file, as stored.

    Raises ValueError if the header is truncated or corrupted.
    """
    return _take_size(_open_header(file))


def read_jxl_orientation(file: BinaryIO) -> int:
    """Return the orientation in the header of a JPEG XL file, 1 to 8 as in EXIF.

    Raises ValueError if the header is truncated or corrupted.
    """
    bits = _open_header(file)
    _take_size(bits)
    all_default = bits.take(1)
    has_orientation = not all_default and bits.take(1)
    return bits.take(3) + 1 if has_orientation else 1


def is_rotated_by_codec(image: Image.Image) -> bool:
    """Return whether `pillow_jxl` rotated the pixels of an image upright.

    It applies the orientation in the header, which encoders copy from the EXIF data and keep there
    as well. It restores a JPEG that was stored without loss as it was, with its EXIF data.
    """
    content = getattr(image, "fc", None)  # the whole file
    if image.format != "JXL" or content is None or getattr(image, "jpeg", False):
        return False
    try:
        return read_jxl_orientation(io.BytesIO(content)) != 1
    except ValueError:
        return False


def _open_header(file: BinaryIO) -> _Bits:
    """Return the start of the codestream, without its signature."""
    file.seek(0)
    if file.read(2) != CODESTREAM:
        _seek_codestream(file)
        if file.read(2) != CODESTREAM:
            raise ValueError("no JPEG XL codestream")
    header = file.read(12)
    if len(header) < 12:
        raise ValueError("truncated JPEG XL header")
    return _Bits(header)


def _take_size(bits: _Bits) -> tuple[int, int]:
    small = bool(bits.take(1))
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, small), height
    across, down = RATIOS[ratio - 1]
    return height * across // down, height


class _Bits:
    """Bits of a header, lowest first."""

    def __init__(self, content: bytes) -> None:
        self._rest = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value


def _side(bits: _Bits, small: bool) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take(SIDE_BITS[bits.take(2)]) + 1


def _seek_codestream(file: BinaryIO) -> None:
    """Go to the codestream of a container: the content of its first box jxlc or jxlp."""
    start = 0
    while True:
        file.seek(start)
        header = file.read(16)
        if len(header) < 16:
            raise ValueError("truncated JPEG XL container")
        size, kind, skip = int.from_bytes(header[:4], "big"), header[4:8], 8
        if size == 1:
            size, skip = int.from_bytes(header[8:], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            file.seek(start + skip + (4 if kind == b"jxlp" else 0))
            return
        if size < skip:  # 0 means up to the end of the file
            raise ValueError("no JPEG XL codestream")
        start += size
