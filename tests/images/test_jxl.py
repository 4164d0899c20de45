"""Size and orientation of a JPEG XL image are read from its header."""

from __future__ import annotations

import io

import pytest

from zeroshot.images.jxl import read_jxl_orientation, read_jxl_size


def packed(*fields: tuple[int, int]) -> bytes:
    """Pack fields of (value, bits), lowest bits first, into whole bytes."""
    value = shift = 0
    for field, bits in fields:
        value |= field << shift
        shift += bits
    return value.to_bytes((shift + 7) // 8, "little")


def codestream(*fields: tuple[int, int]) -> bytes:
    """Return a codestream whose header has fields of (value, bits)."""
    return b"\xff\x0a" + packed(*fields).ljust(14, b"\0")


def container(stream: bytes, kind: bytes = b"jxlc", before: bytes = b"") -> bytes:
    start = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
    content = (b"\0\0\0\0" if kind == b"jxlp" else b"") + stream
    return start + before + (8 + len(content)).to_bytes(4, "big") + kind + content


SMALL = codestream((1, 1), (3, 5), (0, 3), (7, 5))  # 8 * 8 wide, 4 * 8 high
LARGE = codestream((0, 1), (3, 2), (59_999, 30), (0, 3), (1, 2), (4999, 13))
RATIO = codestream((0, 1), (1, 2), (1079, 13), (5, 3))
EXIF = b"\0\0\0\x1cExif" + b"jxlc\xff\x0a".ljust(20, b"\0")  # contains a false codestream


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (SMALL, (64, 32)),
        (LARGE, (5000, 60_000)),
        (RATIO, (1920, 1080)),
        (container(LARGE), (5000, 60_000)),
        (container(LARGE, b"jxlp"), (5000, 60_000)),
        (container(LARGE, b"jxlc", EXIF), (5000, 60_000)),
    ],
)
def test_the_size_is_read(content: bytes, size: tuple[int, int]) -> None:
    assert read_jxl_size(io.BytesIO(content)) == size


@pytest.mark.parametrize(
    ("metadata", "orientation"),
    [
        ([(1, 1), (7, 3)], 1),  # the default
        ([(0, 1), (0, 1), (7, 3)], 1),
        ([(0, 1), (1, 1), (5, 3)], 6),
    ],
)
def test_the_orientation_is_read(metadata: list[tuple[int, int]], orientation: int) -> None:
    for size in ([(1, 1), (3, 5), (1, 3)], [(0, 1), (3, 2), (59_999, 30), (0, 3), (1, 2), (9, 13)]):
        content = codestream(*size, *metadata)
        assert read_jxl_orientation(io.BytesIO(content)) == orientation
        assert read_jxl_orientation(io.BytesIO(container(content))) == orientation


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x0a", LARGE[:9], container(LARGE)[:40], container(b""), b"\0" * 64],
)
def test_a_damaged_header_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="JPEG XL"):
        read_jxl_size(io.BytesIO(content))
