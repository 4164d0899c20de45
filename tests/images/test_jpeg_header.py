"""The header of an ordinary JPEG is read, and Pillow decides about every unusual one."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from tests.support import encoded, photograph
from zeroshot.images.jpeg_header import Header, read_header

PLAIN = encoded(Image.fromarray(photograph(30, 20)), "JPEG")
XMP = b"http://ns.adobe.com/xap/1.0/\0"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


def with_segment(marker: int, content: bytes) -> bytes:
    """Return a JPEG with a segment after the start marker."""
    return PLAIN[:2] + segment(marker, content) + PLAIN[2:]


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHL", tag, kind, count) + value.ljust(4, b"\0")


def with_exif(*entries: bytes, rest: bytes = b"") -> bytes:
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return with_segment(0xFFE1, b"Exif\0\0II*\0\x08\0\0\0" + directory + rest)


ORIENTATION = entry(0x0112, 3, 1, b"\x06\0")


def test_size_and_orientation_are_read() -> None:
    assert read_header(PLAIN) == Header(30, 20, 1)
    assert read_header(with_exif(ORIENTATION)) == Header(30, 20, 6)
    assert read_header(with_exif(entry(0x0112, 3, 1, b"\x09\0"))) == Header(30, 20, 1)
    assert read_header(with_exif()) == Header(30, 20, 1)


def test_other_values_of_a_camera_are_accepted() -> None:
    maker = entry(0x010F, 2, 20, struct.pack("<L", 26))

    assert read_header(with_exif(maker, ORIENTATION, rest=bytes(24))) == Header(30, 20, 6)


@pytest.mark.parametrize(
    "content",
    [
        with_exif(entry(0x0112, 4, 1, b"\x06")),
        with_exif(entry(0x0112, 3, 2, b"\x06")),
        with_exif(ORIENTATION, ORIENTATION),
        with_exif(entry(0x010F, 2, 99, struct.pack("<L", 10)), ORIENTATION),
        with_exif(entry(0x010F, 2, 5, struct.pack("<L", 2**31)), ORIENTATION),
        with_exif(entry(0x010F, 99, 1, b""), ORIENTATION),
        with_exif(entry(0x011A, 2, 1, b"x"), ORIENTATION),
        with_exif(*[entry(n, 3, 1, b"") for n in range(300)]),
        with_segment(0xFFE1, b"Exif\0\0II*\0\x08\0\0\0\x09\0" + ORIENTATION),
        with_segment(0xFFE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        with_segment(0xFFE1, b"Exif\0\0II+\0\x08\0\0\0\0\0"),
        with_segment(0xFFE1, b"Exif\0\0"),
    ],
    ids=[
        *("long", "two", "twice", "overlap", "beyond", "type", "text", "many"),
        *("cut", "offset", "BigTIFF", "empty"),
    ],
)
def test_doubtful_exif_data_is_left_to_pillow(content: bytes) -> None:
    assert read_header(content) is None


def test_exif_data_in_two_segments_is_left_to_pillow() -> None:
    content = with_exif(ORIENTATION)

    assert read_header(content[:2] + content[2 : -len(PLAIN) + 2] + content[2:]) is None


def test_an_orientation_in_xmp_alone_is_left_to_pillow() -> None:
    packet = segment(0xFFE1, XMP + b'<a tiff:Orientation="6"/>')

    assert read_header(PLAIN[:2] + packet + PLAIN[2:]) is None
    assert read_header(with_segment(0xFFE1, XMP + b"<a/>")) == Header(30, 20, 1)
    both = with_exif(ORIENTATION)
    assert read_header(both[:2] + packet + both[2:]) == Header(30, 20, 6)


@pytest.mark.parametrize(
    "content",
    [
        with_segment(0xFFE2, b"MPF\0II*\0"),
        with_segment(0xFFE2, b"ICC_PROFILE\0"),
        with_segment(0xFFE0, b"JFIF\0"),
        with_segment(0xFFEE, b"Adobe"),
        with_segment(0xFFED, b"Photoshop 3.0\x008BIM\x03\xed"),
        with_segment(0xFFED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\xff\xff"),
        with_segment(0xFFD0, b""),
        PLAIN[:2] + segment(0xFFFE, b"") * 1001 + PLAIN[2:],
        PLAIN[:2] + b"\0" + PLAIN[2:],
        PLAIN[:60],
        PLAIN[:2],
        PLAIN.replace(b"\xff\xc0", b"\xff\xc3"),
        PLAIN.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        PLAIN.replace(b"\0\x14\0\x1e", b"\0\0\0\x1e"),
    ],
    ids=[
        *("MPO", "ICC", "JFIF", "Adobe", "Photoshop", "Photoshop size", "restart", "many", "junk"),
        *("cut", "start", "lossless", "12 bits", "no lines"),
    ],
)
def test_other_unusual_headers_are_left_to_pillow(content: bytes) -> None:
    assert read_header(content) is None


def test_resources_of_photoshop_are_accepted() -> None:
    resource = b"8BIM" + struct.pack(">HHL", 0x03ED, 0, 5) + b"value\0"

    content = with_segment(0xFFED, b"Photoshop 3.0\0" + resource * 2)

    assert read_header(content) == Header(30, 20, 1)


def test_a_second_frame_is_left_to_pillow() -> None:
    frame = segment(0xFFC0, struct.pack(">BHHB", 8, 20, 30, 1) + bytes(3))

    assert read_header(PLAIN[:2] + frame + PLAIN[2:]) is None
