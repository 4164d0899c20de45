"""Parse the headers of a tar archive, in order.

`tarfile` ends silently at a damaged header after the first one, so images would be missing without
an error; it also takes 70 microseconds per member. Formats: V7, ustar, pax and GNU, as `tarfile`
reads them. Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar, "Basic Tar Format".
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from zeroshot.errors import shortened

BLOCK = 512  # bytes
ZERO = bytes(BLOCK)
MAX_HEADER = 1 << 20  # bytes of a long name or of pax records
CHUNK = 1 << 20  # bytes
FILES = b"0\0" + b"7"  # types of a regular file
HARD_LINK = b"1"
WITHOUT_DATA = b"123456"  # links, devices, folders, FIFOs
EXTENSIONS = b"xgLK"  # pax records, and long names of GNU tar
POSIX = b"ustar\0"  # with it a header contains a prefix of the name


class DamagedError(Exception):
    """The archive is truncated, or is not a tar file; the message completes a sentence."""


@dataclass(slots=True)
class Member:
    """A file in the archive."""

    name: str
    size: int  # bytes
    start: int  # of the content, in bytes from the start of the archive
    is_file: bool
    is_sparse: bool = False
    is_link: bool = False  # a hard link: tar stores the second name of a file so


class TarReader:
    """The members of an archive, each with its content until the next one is taken.

    Args:
        file: Position 0 of the archive.
        size: Bytes of the archive if `file` can seek, else None.
    """

    def __init__(self, file: BinaryIO, size: int | None) -> None:
        self._file, self._size = file, size
        self.is_seekable = size is not None
        self._place = 0  # of the next byte in the stream
        self._end = 0  # of the current member, with padding
        self._globals: dict[str, str] = {}

    def __iter__(self) -> Iterator[Member]:
        """Yield the members. Raises DamagedError."""
        found: dict[str, str] = {}  # what precedes a header: its long name and size
        while True:
            self._go_to(self._end)
            header = self._take(BLOCK)
            if len(header) < BLOCK:
                raise DamagedError(
                    "is truncated: it ends without an end marker" if self._place else "is empty"
                )
            if header == ZERO:
                if self._take(BLOCK) not in (ZERO, b""):
                    raise DamagedError(f"is damaged: zeros at byte {self._place - 2 * BLOCK}")
                return
            kind, size = self._parse(header, found)
            if kind in EXTENSIONS:
                self._read_extension(kind, size, found)
                continue
            start = self._place
            has_data = kind not in WITHOUT_DATA
            self._end = start + (-(-size // BLOCK) * BLOCK if has_data else 0)
            name = found.get("GNU.sparse.name") or found.get("path") or _name_of(header)
            is_sparse = kind == b"S" or any(key.startswith("GNU.sparse.") for key in found)
            is_file = (kind in FILES and not name.endswith("/")) or kind == b"S"
            yield Member(name, size, start, is_file, is_sparse, is_link=kind == HARD_LINK)
            found = dict(self._globals)

    def read(self, member: Member) -> bytes:
        """Return the content of the current member. Raises DamagedError if it is truncated."""
        content = self._take(member.size)
        if len(content) < member.size:
            raise _truncated(member)
        return content

    def skip(self, member: Member) -> None:
        """Check that the content of the current member is complete. Raises DamagedError."""
        end = member.start + member.size
        if self._size is not None:
            if end > self._size:
                raise _truncated(member)
        elif not self._discard(end):
            raise _truncated(member)

    def _parse(self, header: bytes, found: dict[str, str]) -> tuple[bytes, int]:
        """Return the type and the size of a member."""
        try:
            stored = _number(header[148:156])
            if stored not in (_checksum(header), _signed_checksum(header)):
                raise ValueError
            kind = header[156:157]
            is_named = "size" in found and kind not in EXTENSIONS
            size = int(found["size"]) if is_named else _number(header[124:136])
            if size < 0:
                raise ValueError
        except ValueError:
            place = self._place - BLOCK
            raise DamagedError(
                f"is damaged: invalid header at byte {place}" if place else "is not a tar file"
            ) from None
        more = header[482] if kind == b"S" else 0  # the map of a sparse file continues
        while more:
            block = self._take(BLOCK)
            if len(block) < BLOCK:
                raise DamagedError("is truncated: it ends inside a header")
            more = block[504]
        return kind, size

    def _read_extension(self, kind: bytes, size: int, found: dict[str, str]) -> None:
        """Read pax records, or a long name, into `found`."""
        if size > MAX_HEADER:
            raise DamagedError(f"is damaged: a header of {size} bytes")
        content = self._take(size)
        if len(content) < size:
            raise DamagedError("is truncated: it ends inside a header")
        self._end = self._place + -size % BLOCK
        if kind == b"L":
            found["path"] = _text(content)
        elif kind in b"xg":
            try:
                records = dict(_pax_records(content))
            except ValueError:
                raise DamagedError("is damaged: invalid pax header") from None
            found.update(records)
            if kind == b"g":
                self._globals.update(records)

    def _take(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end of the stream."""
        content = self._file.read(size)
        if len(content) < size:  # a stream may return less than was asked for
            pieces = io.BytesIO()
            while content:
                pieces.write(content)
                content = self._file.read(min(size - pieces.tell(), CHUNK))
            content = pieces.getvalue()
        self._place += len(content)
        return content

    def _go_to(self, place: int) -> None:
        if self._size is not None:
            if place != self._place:
                self._file.seek(place)
                self._place = place
        else:
            self._discard(place)

    def _discard(self, place: int) -> bool:
        """Read up to a place in the stream; return whether it is there."""
        while self._place < place:
            content = self._take(min(place - self._place, CHUNK))
            if not content:
                return False
        return True


def _truncated(member: Member) -> DamagedError:
    return DamagedError(f"is truncated in the member {shortened(member.name)!r}")


def _checksum(header: bytes) -> int:
    """Return the sum of the bytes, with spaces in place of the checksum."""
    return sum(header) - sum(header[148:156]) + 8 * 32


def _signed_checksum(header: bytes) -> int:
    """Return the sum as some old programs computed it."""
    plain = header[:148] + header[156:]
    return _checksum(header) - 256 * sum(byte > 127 for byte in plain)


def _number(field: bytes) -> int:
    """Return an octal number, or a binary one as GNU tar writes large sizes."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & (1 << 8 * len(field) - 1) - 1
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _name_of(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == POSIX else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax_records(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records "length key=value" of a pax header. Raises ValueError."""
    place = 0
    while place < len(content) and content[place]:
        length, space, _ = content[place : place + 20].partition(b" ")
        end = place + int(length)
        record = content[place + len(length) + 1 : end - 1]
        key, equals, value = record.partition(b"=")
        if not space or not equals or content[end - 1 : end] != b"\n":
            raise ValueError
        yield key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        place = end
