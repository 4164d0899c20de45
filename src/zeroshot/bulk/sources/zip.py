"""Read images in zip archives, without extracting them."""

from __future__ import annotations

import hashlib
import lzma
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any
from zipfile import ZipFile, ZipInfo

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources.reading import (
    MAX_BYTES,
    Options,
    identify,
    is_device_error,
    open_file,
    too_large,
)
from zeroshot.errors import InputError, image_error, shortened
from zeroshot.labeling.sources import SUFFIXES as IMAGES

SUFFIXES = (".zip",)
HIGHEST_RATIO = 100  # of the sizes after and before decompression
HARMLESS = 1 << 20  # bytes; smaller files may have any ratio, as pictures of one color do
PIECE = 4096  # compressed bytes at once: one piece of bzip2 may expand to 80 MB
ENCRYPTED = 1  # bit of the flags of a member
DAMAGE = (  # what zipfile raises
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError),
    *(zlib.error, lzma.LZMAError, struct.error, IndexError, OverflowError),
)


class ZipSource:
    """Images in a zip archive, in the order of its index; threads read members at once."""

    kind = "zip"
    splits = True

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.columns = options.keep
        self.skipped: Counter[str] = Counter()  # files by suffix
        self._nothing = options.nothing
        self._facts = identify(self.kind, name)
        with _open(name) as archive:
            self._members = [each for each in archive.infolist() if self._is_image(each)]
        # the index has a checksum of each file
        index = repr([(each.filename, each.CRC, each.file_size) for each in self._members])
        digest = hashlib.blake2b(index.encode("utf-8", "surrogateescape"), digest_size=16)
        self._facts |= {"count": len(self._members), "index": digest.hexdigest()}

    def facts(self) -> dict[str, Any]:
        """Return name, size and digest of the archive."""
        return self._facts

    def count(self) -> int:
        """Return the number of images."""
        return len(self._members)

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the images from a row on."""
        if first >= len(self._members):
            return
        archive = _open(self.name)  # ZipFile has a lock, and closes its file when it is deleted
        for member in self._members[first:]:
            name = printable(f"{self.name}#{member.filename}")
            yield Item(name, partial(_read, archive, member, name), self._nothing)

    def _is_image(self, member: ZipInfo) -> bool:
        """Return whether a member is an image; count other files."""
        if member.filename.endswith("/"):  # is_dir() fails for an empty name
            return False
        base = member.filename.rpartition("/")[2]
        suffix = os.path.splitext(base)[1].lower()
        if suffix in IMAGES and not base.startswith("."):  # ._ files of macOS
            return True
        self.skipped[suffix] += 1
        return False


def open_source(name: str, options: Options) -> list[ZipSource]:
    """Return the images in an archive. Raises InputError for one that cannot be opened."""
    return [ZipSource(name, options)]


def _open(name: str) -> ZipFile:
    try:
        return _Archive(name)
    except DAMAGE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{shortened(name, 300)}: not a readable zip archive ({shortened(str(error), 150)}); "
            "copy or download it again"
        ) from error


class _Archive(ZipFile):
    """A zip file that closes its file when nothing reads from it anymore."""

    def __init__(self, name: str) -> None:
        self._content = open_file(name)
        try:
            super().__init__(self._content)
        except BaseException:
            self._content.close()
            raise

    def close(self) -> None:
        super().close()
        self._content.close()


def _read(archive: ZipFile, member: ZipInfo, name: str) -> bytes:
    """Read a member. Raises ImageError."""
    if member.flag_bits & ENCRYPTED:
        raise image_error("unsupported_format", name, "encrypted; extract it with its password")
    size = member.file_size
    if size > MAX_BYTES:
        raise too_large(name, size)
    if size > max(HARMLESS, HIGHEST_RATIO * member.compress_size):
        raise image_error(
            "too_large_bytes",
            name,
            f"{member.compress_size} bytes that expand to {size}, more than {HIGHEST_RATIO} times "
            "as many, are refused; extract the file if it is trusted",
        )
    try:
        with archive.open(member) as file:
            if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return file.read(size)  # a limit: without one, a wrong size in the index is trusted
            pieces = []
            while piece := file.read(PIECE):
                pieces.append(piece)
            return b"".join(pieces)
    except DAMAGE as error:
        if is_device_error(error):
            raise
        reason = shortened(str(error) or type(error).__name__, 200)
        raise image_error(
            "decode_failed", name, f"cannot be read from the archive ({reason})"
        ) from error
