"""Read images in tar archives, such as the shards of WebDataset.

Nothing is extracted, no name of a member is used as a path, and other members are ignored.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO, cast

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources import remote
from zeroshot.bulk.sources.budget import Budget, Held
from zeroshot.bulk.sources.reading import (
    MAX_BYTES,
    Options,
    failed,
    failed_image,
    identify,
    is_device_error,
    open_file,
    too_large,
)
from zeroshot.bulk.sources.tar_format import DamagedError, Member, TarReader
from zeroshot.errors import InputError, image_error, shortened
from zeroshot.labeling.sources import SUFFIXES as IMAGES

SUFFIXES = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst"),
)
GZIP, BZIP2, XZ, ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
DAMAGE = (DamagedError, OSError, EOFError, zlib.error, lzma.LZMAError)


class TarSource:
    """Images in a tar archive, in the order of the archive.

    A local archive without compression is read twice: one thread reads the headers, and others read
    the images, so no bytes wait in memory. Other archives are streams: an item contains its bytes,
    at most 64 MiB together (see `Budget`). A damaged archive gives the images before the damage,
    and one error.
    """

    kind = "tar"
    splits = False

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.columns = options.keep
        self.skipped: Counter[str] = Counter()  # files by suffix, in the last run of `items`
        self._nothing = options.nothing
        self._facts = identify(self.kind, name)

    def facts(self) -> dict[str, Any]:
        """Return name, size and digest of the archive."""
        return self._facts

    def count(self) -> None:
        """Return None: the number of images is known at the end."""

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the images from a row on."""
        self.skipped.clear()
        place = 0
        try:
            with open_file(self.name) as file:
                content, size = _decompress(file, is_local=not remote.is_remote(self.name))
                reader, budget = TarReader(content, size), Budget()
                for member in reader:
                    if not (member.is_file or member.is_link) or not self._is_image(member.name):
                        continue
                    item = self._make(reader, member, budget) if place >= first else None
                    if item is None:
                        reader.skip(member)
                    place += 1
                    if item is not None:
                        yield item
        except DAMAGE as error:
            if is_device_error(error):  # the images after it are not lost
                raise InputError(
                    f"{shortened(self.name, 200)}: cannot be read after {place} images "
                    f"({shortened(str(error), 150)}); check the drive or the connection, then run "
                    "the same command again: finished parts are kept"
                ) from error
            if place >= first:
                yield self._fail(error, place)

    def _make(self, reader: TarReader, member: Member, budget: Budget) -> Item:
        name = printable(f"{self.name}#{member.name}")
        if member.is_link:
            problem = "a link to another member; pack it as a file, with --hard-dereference"
            return failed_image(name, "unsupported_format", problem, self._nothing)
        if member.is_sparse or member.size > MAX_BYTES:
            reader.skip(member)
            if member.is_sparse:
                return failed_image(
                    name,
                    "unsupported_format",
                    "a sparse file; pack it as a plain one",
                    self._nothing,
                )
            return failed(name, too_large(name, member.size), self._nothing)
        if reader.is_seekable:
            reader.skip(member)
            read = partial(_read_at, self.name, member.start, member.size, name)
            return Item(name, read, self._nothing)
        content = reader.read(member)
        held = Held(lambda: content, len(content), budget)
        return Item(name, held.read, self._nothing)

    def _is_image(self, name: str) -> bool:
        """Return whether a name is that of an image; count other files."""
        base = name.rpartition("/")[2]
        suffix = os.path.splitext(base)[1].lower()
        if suffix in IMAGES and not base.startswith("."):  # ._ files of macOS
            return True
        self.skipped[suffix] += 1
        return False

    def _fail(self, error: Exception, images: int) -> Item:
        problem = str(error) if isinstance(error, DamagedError) else _explain(error)
        return failed_image(
            self.name,
            "truncated",
            f"the archive {shortened(problem, 200)}; the {images} images before are labeled, copy "
            "or download it again",
            self._nothing,
        )


def open_source(name: str, options: Options) -> list[TarSource]:
    """Return the images in an archive. Raises InputError for a file that cannot be opened."""
    return [TarSource(name, options)]


def _decompress(file: BinaryIO, *, is_local: bool) -> tuple[BinaryIO, int | None]:
    """Return the archive, and its size if it is a local file without compression."""
    start = file.read(len(XZ))
    file.seek(0)
    if start.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file)), None
    if start.startswith(BZIP2):
        return cast(BinaryIO, bz2.BZ2File(file)), None
    if start.startswith(XZ):
        return cast(BinaryIO, lzma.LZMAFile(file)), None
    if start.startswith(ZSTD):
        raise DamagedError("is compressed with zstd, which is unsupported; use gzip")
    if not is_local:
        return file, None
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return file, size


def _explain(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "is truncated: it ends inside the compressed data"
    return f"cannot be read to the end ({getattr(error, 'strerror', None) or error})"


def _read_at(path: str, start: int, size: int, name: str) -> bytes:
    """Read a part of a file."""
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read(size)
    if len(content) < size:
        raise image_error("truncated", name, "the archive was truncated while it was read")
    return content
