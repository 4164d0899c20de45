"""Locate the members of a zip file, strictly and within limits.

Only zip files like those of torch are accepted: one disk, no comment, no data before, between or
after the members, and a central directory that agrees with the member headers. Nothing is
decompressed. The standard library's reader does not check this, and creates an object for each
member that a file announces. Format: APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from zeroshot.errors import UnsafeWeightsError, shortened

MAX_MEMBERS = 25_000  # two per tensor, and the source code of TorchScript
MAX_NAME = 512  # bytes
MAX_GAP = 8192  # bytes of padding or data descriptor between members
STORED = 0
ENCRYPTED, DESCRIPTOR = 0x1, 0x8  # flag bits
UNKNOWN_16, UNKNOWN_32 = 0xFFFF, 0xFFFFFFFF  # the value is in the zip64 record


@dataclass(frozen=True, slots=True)
class Span:
    """The position of a member's bytes, and whether they are stored uncompressed."""

    offset: int
    size: int
    stored: bool = True


def unsafe_error(source: str, what: str) -> UnsafeWeightsError:
    """Return the error for a corrupted, malicious or unsupported file."""
    return UnsafeWeightsError(
        f"{source}: {what}; the file is not a weights file, corrupted or malicious, download it "
        "again from its publisher",
        source=source,
    )


def members(data: memoryview, source: str) -> dict[str, Span]:
    """Return the span of every member by name.

    Raises UnsafeWeightsError if the zip file is invalid.
    """
    try:
        return _members(data, source)
    except struct.error as error:
        raise unsafe_error(source, "a zip file with a truncated directory") from error


def _members(data: memoryview, source: str) -> dict[str, Span]:
    count, start, end = _read_directory(data, source)
    spans: dict[str, Span] = {}
    ranges: list[tuple[int, int, str]] = []  # of each member, header included
    position = start
    for _ in range(count):
        if bytes(data[position : position + 4]) != b"PK\x01\x02":
            raise unsafe_error(source, "a truncated zip directory")
        flags, method, _, _, _, packed, size, name_size, extra_size, comment_size = struct.unpack(
            "<HHHHIIIHHH", data[position + 8 : position + 34]
        )
        (header,) = struct.unpack("<I", data[position + 42 : position + 46])
        body = position + 46
        position = body + name_size + extra_size + comment_size
        if position > end or name_size > MAX_NAME:
            raise unsafe_error(source, "a zip directory that extends past its end")
        raw = bytes(data[body : body + name_size])
        extra = data[body + name_size : body + name_size + extra_size]
        size, packed, header = _zip64(extra, [size, packed, header], source)
        name = raw.decode("utf-8", "replace")
        if name in spans:
            raise unsafe_error(source, f"duplicate member {shortened(name)!r}")
        if flags & ENCRYPTED or (method == STORED and size != packed):
            raise unsafe_error(source, f"member {shortened(name)!r} is encrypted or has two sizes")
        offset = _check_header(data, header, (raw, method, flags, packed), source)
        if offset + packed > start:
            raise unsafe_error(
                source, f"member {shortened(name)!r} extends past the end of the file"
            )
        spans[name] = Span(offset, packed, method == STORED)
        ranges.append((header, offset + packed, name))
    if position != end:
        raise unsafe_error(source, "a zip directory longer than its members")
    _check_disjoint(ranges, start, source)
    return spans


def _read_directory(data: memoryview, source: str) -> tuple[int, int, int]:
    """Return the number of members of the central directory, its start and its end."""
    tail = len(data) - 22
    if tail < 0 or bytes(data[tail : tail + 4]) != b"PK\x05\x06":
        raise unsafe_error(source, "a zip file without a directory at its end")
    disk, disk2, here, count, size, start, comment = struct.unpack("<HHHHIIH", data[tail + 4 :])
    end = tail
    if tail >= 20 and bytes(data[tail - 20 : tail - 16]) == b"PK\x06\x07":
        _, record, disks = struct.unpack("<IQI", data[tail - 16 : tail])
        if (
            record + 56 != tail - 20
            or disks != 1
            or bytes(data[record : record + 4]) != b"PK\x06\x06"
        ):
            raise unsafe_error(source, "a zip file whose zip64 directory is missing")
        shorts = (here, count, size, start)
        here, count, size, start = struct.unpack("<QQQQ", data[record + 24 : record + 56])
        for short, number in zip(shorts, (here, count, size, start), strict=True):
            if short not in (number, UNKNOWN_16, UNKNOWN_32):
                raise unsafe_error(source, "a zip file with two directories")
        end = record
    if disk or disk2 or comment or here != count or start + size != end:
        raise unsafe_error(source, "a zip file with several parts or additional data")
    if count > MAX_MEMBERS or size < 46 * count:
        raise unsafe_error(source, f"a zip file with {count} members, the limit is {MAX_MEMBERS}")
    return count, start, end


def _zip64(extra: memoryview, numbers: list[int], source: str) -> list[int]:
    """Replace numbers that do not fit into 32 bits by those in the extra field."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack("<HH", extra[position : position + 4])
        field = extra[position + 4 : position + 4 + size]
        position += 4 + size
        if kind == 1:
            for index, number in enumerate(numbers):
                if number == UNKNOWN_32:
                    (numbers[index],) = struct.unpack("<Q", field[:8])
                    field = field[8:]
            return numbers
    if UNKNOWN_32 in numbers:
        raise unsafe_error(source, "a zip member of unknown size")
    return numbers


def _check_header(
    data: memoryview, header: int, expected: tuple[bytes, int, int, int], source: str
) -> int:
    """Check a member's header against the directory.

    Returns the offset of the member's bytes.
    """
    raw, method, flags, packed = expected
    if bytes(data[header : header + 4]) != b"PK\x03\x04":
        raise unsafe_error(source, f"member {shortened(repr(raw))} has no header")
    own_flags, own_method, _, _, _, own_packed, _, name_size, extra_size = struct.unpack(
        "<HHHHIIIHH", data[header + 6 : header + 30]
    )
    offset: int = header + 30 + name_size + extra_size
    sizes = (packed, UNKNOWN_32, 0) if flags & DESCRIPTOR else (packed, UNKNOWN_32)
    if (
        bytes(data[header + 30 : header + 30 + name_size]) != raw
        or own_method != method
        or own_flags != flags
        or own_packed not in sizes
    ):
        raise unsafe_error(
            source, f"member {shortened(repr(raw))} has a header that disagrees with the directory"
        )
    return offset


def _check_disjoint(ranges: list[tuple[int, int, str]], start: int, source: str) -> None:
    """Reject members that overlap or that leave space for hidden data."""
    end = 0
    for begin, after, name in [*sorted(ranges), (start, start, "the directory")]:
        if begin < end:
            raise unsafe_error(source, f"member {shortened(name)!r} overlaps another")
        if begin - end > MAX_GAP:
            raise unsafe_error(
                source, f"{begin - end} bytes before {shortened(name)!r} that belong to no member"
            )
        end = after
