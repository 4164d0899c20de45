"""Where the members of a zip file lie, read strictly and within bounds.

Only what torch writes passes: one disk, no comment, nothing before, between or behind, and a
central directory that says the same as the headers in front of the members. Nothing is inflated.
The standard library's reader is lenient about all of this, and builds an object for each of
however many members a file announces. Format: APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from zeroshot.errors import UnsafeWeightsError

MAX_MEMBERS = 25_000  # two a tensor, and the source code of TorchScript
MAX_NAME = 512  # bytes
MAX_GAP = 8192  # bytes of padding or data descriptor between members
STORED = 0
ENCRYPTED, DESCRIPTOR = 0x1, 0x8  # flag bits
UNKNOWN_16, UNKNOWN_32 = 0xFFFF, 0xFFFFFFFF  # the number is in the zip64 record instead


@dataclass(frozen=True, slots=True)
class Span:
    """Where a member's bytes lie in the file, and whether they are as they were (not deflated)."""

    offset: int
    size: int
    stored: bool = True


def refusal(source: str, what: str) -> UnsafeWeightsError:
    """Make the error for a file that is not what it claims to be."""
    return UnsafeWeightsError(
        f"{source}: {what}; not a file of weights, or a damaged or hostile one: get it again from "
        "its publisher",
        source=source,
    )


def members(data: memoryview, source: str) -> dict[str, Span]:
    """Return every member by name, or raise UnsafeWeightsError."""
    try:
        return _members(data, source)
    except struct.error as error:
        raise refusal(source, "a zip file cut off within its directory") from error


def _members(data: memoryview, source: str) -> dict[str, Span]:
    count, start, end = _directory(data, source)
    spans: dict[str, Span] = {}
    places: list[tuple[int, int, str]] = []  # from a member's header to its end
    position = start
    for _ in range(count):
        if bytes(data[position : position + 4]) != b"PK\x01\x02":
            raise refusal(source, "a zip directory that ends early")
        flags, method, _, _, _, packed, size, name_size, extra_size, note_size = struct.unpack(
            "<HHHHIIIHHH", data[position + 8 : position + 34]
        )
        (header,) = struct.unpack("<I", data[position + 42 : position + 46])
        body = position + 46
        position = body + name_size + extra_size + note_size
        if position > end or name_size > MAX_NAME:
            raise refusal(source, "a zip directory that reaches past its end")
        raw = bytes(data[body : body + name_size])
        extra = data[body + name_size : body + name_size + extra_size]
        size, packed, header = _zip64(extra, [size, packed, header], source)
        name = raw.decode("utf-8", "replace")
        if name in spans:
            raise refusal(source, f"member {name!r} appears twice")
        if flags & ENCRYPTED or (method == STORED and size != packed):
            raise refusal(source, f"member {name!r} is encrypted, or of two sizes")
        offset = _behind_header(data, header, (raw, method, flags, packed), source)
        if offset + packed > start:
            raise refusal(source, f"member {name!r} reaches past the end of the file")
        spans[name] = Span(offset, packed, method == STORED)
        places.append((header, offset + packed, name))
    if position != end:
        raise refusal(source, "a zip directory longer than its members")
    _disjoint(places, start, source)
    return spans


def _directory(data: memoryview, source: str) -> tuple[int, int, int]:
    """Return how many members the central directory lists, where it starts and where it ends."""
    tail = len(data) - 22
    if tail < 0 or bytes(data[tail : tail + 4]) != b"PK\x05\x06":
        raise refusal(source, "a zip file without its directory at the very end")
    disk, disk2, here, count, size, start, note = struct.unpack("<HHHHIIH", data[tail + 4 :])
    end = tail
    if tail >= 20 and bytes(data[tail - 20 : tail - 16]) == b"PK\x06\x07":
        _, record, disks = struct.unpack("<IQI", data[tail - 16 : tail])
        if (
            record + 56 != tail - 20
            or disks != 1
            or bytes(data[record : record + 4]) != b"PK\x06\x06"
        ):
            raise refusal(source, "a zip file without the directory it announces")
        shorts = (here, count, size, start)
        here, count, size, start = struct.unpack("<QQQQ", data[record + 24 : record + 56])
        for short, number in zip(shorts, (here, count, size, start), strict=True):
            if short not in (number, UNKNOWN_16, UNKNOWN_32):
                raise refusal(source, "a zip file with two directories")
        end = record
    if disk or disk2 or note or here != count or start + size != end:
        raise refusal(source, "a zip file of several parts, or with something added")
    if count > MAX_MEMBERS or size < 46 * count:
        raise refusal(source, f"a zip file of {count} members, the limit is {MAX_MEMBERS}")
    return count, start, end


def _zip64(extra: memoryview, numbers: list[int], source: str) -> list[int]:
    """Replace numbers too large for 32 bits by those in the extra field."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack("<HH", extra[position : position + 4])
        field = extra[position + 4 : position + 4 + size]
        position += 4 + size
        if kind == 1:
            for place, number in enumerate(numbers):
                if number == UNKNOWN_32:
                    (numbers[place],) = struct.unpack("<Q", field[:8])
                    field = field[8:]
            return numbers
    if UNKNOWN_32 in numbers:
        raise refusal(source, "a zip member of unknown size")
    return numbers


def _behind_header(
    data: memoryview, header: int, told: tuple[bytes, int, int, int], source: str
) -> int:
    """Return where a member's bytes begin, once its own header agrees with the directory."""
    raw, method, flags, packed = told
    if bytes(data[header : header + 4]) != b"PK\x03\x04":
        raise refusal(source, f"member {raw!r} has no header where it should be")
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
        raise refusal(source, f"member {raw!r} has a header that says otherwise")
    return offset


def _disjoint(places: list[tuple[int, int, str]], start: int, source: str) -> None:
    """Refuse members that overlap, or that leave room for something between them."""
    end = 0
    for begin, behind, name in [*sorted(places), (start, start, "the directory")]:
        if begin < end:
            raise refusal(source, f"member {name!r} overlaps another")
        if begin - end > MAX_GAP:
            raise refusal(source, f"{begin - end} bytes before {name!r} that belong to no member")
        end = behind
