"""Read the size and the orientation of a JPEG file, if nothing in it is unusual.

A file may be decoded by another decoder than Pillow only if Pillow would open it without an error
or a warning, and turn it as the header says. Whatever needs a decision of Pillow's is left to it:
several pictures in a file, damaged metadata, an orientation in XMP alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SOS, COM = 0xFFDA, 0xFFFE
TABLES = frozenset((0xFFC4, 0xFFCC, 0xFFDB, 0xFFDD))  # Huffman, arithmetic, quantization, restart
FRAMES = frozenset((0xFFC0, 0xFFC1, 0xFFC2, 0xFFC9, 0xFFCA))  # sequential and progressive
SEGMENTS = 1000  # before the pixels; more are left to Pillow
JFIF, EXIF, MPO, ICC = b"JFIF", b"Exif\0\0", b"MPF\0", b"ICC_PROFILE\0"
XMP, ADOBE, PHOTOSHOP = b"http://ns.adobe.com/xap/1.0/\0", b"Adobe", b"Photoshop 3.0\0"
SHORTEST = {0xFFE0: (JFIF, 7), 0xFFE2: (ICC, 14), 0xFFEE: (ADOBE, 7)}  # bytes that Pillow reads
ORIENTATION, WIDTH_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x0128  # tags of EXIF
SHORT, RATIONAL = 3, 5  # types of their values
EXPECTED = {ORIENTATION: SHORT, WIDTH_RESOLUTION: RATIONAL, RESOLUTION_UNIT: SHORT}
SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8)  # bytes of a value of each type; TIFF 6.0
ENTRIES = 256  # of an EXIF directory


@dataclass(frozen=True)
class Header:
    """What decides how a JPEG is decoded."""

    width: int  # as stored
    height: int
    orientation: int  # 1 to 8; others are ignored, as 1 is
    is_rgb: bool = False  # stored as RGB, or perhaps: other files are YCbCr or gray


def read_header(content: bytes) -> Header | None:
    """Return the header of a JPEG file, or None if Pillow must decide."""
    try:
        return _read(content)
    except (struct.error, IndexError):  # a segment or a value reaches beyond the end
        return None


def _read(content: bytes) -> Header | None:
    position, size, orientation, has_exif, in_xmp = 2, (0, 0), 0, False, False
    is_rgb = False
    for _ in range(SEGMENTS):
        marker, length = struct.unpack_from(">HH", content, position)
        start, end = position + 4, position + 2 + length
        if length < 2 or end > len(content):
            return None
        if marker == SOS:
            if not all(size) or (in_xmp and not orientation):
                return None
            return Header(*size, orientation if 1 <= orientation <= 8 else 1, is_rgb)
        if marker in FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", content, start)
            if any(size) or bits != 8 or channels not in (1, 3) or length != 8 + 3 * channels:
                return None
            size = width, height
            is_rgb = is_rgb or content[start + 6 : end : 3] == b"RGB"
        elif marker == 0xFFE1 and content.startswith(EXIF, start, end):
            found = None if has_exif else _read_orientation(content[start + len(EXIF) : end])
            if found is None:
                return None
            orientation, has_exif = found, True
        elif marker == 0xFFE1 and content.startswith(XMP, start, end):
            in_xmp = in_xmp or content.find(b"tiff:Orientation", start, end) >= 0
        elif not _is_plain(marker, content, start, end):
            return None
        elif marker == 0xFFEE and content.startswith(ADOBE, start, end):
            is_rgb = is_rgb or not content[start + 11]  # no transform
        position = end
    return None


def _is_plain(marker: int, content: bytes, start: int, end: int) -> bool:
    """Return whether Pillow reads a segment without an error and without other pictures."""
    if marker in TABLES or marker == COM:
        return True
    if not 0xFFE0 <= marker <= 0xFFEF:
        return False
    if marker == 0xFFE2 and content.startswith(MPO, start, end):
        return False
    if marker == 0xFFED and content.startswith(PHOTOSHOP, start, end):
        return _has_whole_resources(content[start + len(PHOTOSHOP) : end])
    prefix, least = SHORTEST.get(marker, (b"", 0))
    return end - start >= least or not content.startswith(prefix, start, end)


def _has_whole_resources(block: bytes) -> bool:
    """Return whether every resource of a Photoshop segment ends within it."""
    position = 0
    while block.startswith(b"8BIM", position):
        position += 6  # the name of the block, and the code of the resource
        position += 1 + block[position]  # its name
        position += position & 1
        (size,) = struct.unpack_from(">L", block, position)
        position += 4 + size
        if position > len(block):
            return False
        position += position & 1
    return True


def _read_orientation(tiff: bytes) -> int | None:
    """Return the orientation in EXIF data, 0 if there is none, or None if Pillow must decide."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return None
    (first,) = struct.unpack_from(f"{order}L", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    last = first + 2 + 12 * count
    if count > ENTRIES or last + 4 > len(tiff):
        return None
    seen: set[int] = set()
    orientation, total = 0, 0
    for tag, kind, values, value in struct.iter_unpack(f"{order}HHL4s", tiff[first + 2 : last]):
        if tag in seen or not 1 <= kind < len(SIZES) or not values:
            return None
        if tag in EXPECTED and (kind != EXPECTED[tag] or values != 1):
            return None
        seen.add(tag)
        size = values * SIZES[kind]
        if size > 4:
            total += size
            (offset,) = struct.unpack(f"{order}L", value)
            if offset + size > len(tiff):
                return None
        if tag == ORIENTATION:
            (orientation,) = struct.unpack_from(f"{order}H", value)
    return orientation if total <= len(tiff) else None
