"""Open local and remote files, and make the items of a source."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, NoReturn

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources import remote
from zeroshot.errors import ImageProblem, InputError, image_error, shortened
from zeroshot.images import ImageLike
from zeroshot.images.opening import read_encoded

MAX_BYTES = 512 * 2**20  # of one image; 64 megapixels with 16 bits per channel fit
DEVICE_ERRORS = {
    *(errno.EIO, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNABORTED),
    *(errno.ENOTCONN, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH),
    getattr(errno, "ESTALE", errno.EIO),  # of network file systems
}
EDGE = 1 << 16  # bytes at the start and the end of a file that identify its content
# without O_NONBLOCK opening a FIFO would block
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Options:
    """How sources are read."""

    column: str | None = None  # of a table, with the images; None finds it
    keep: tuple[str, ...] = ()  # columns that are copied to the output
    fps: float | None = None  # frames per second of a video
    every: int | None = None  # of how many frames of a video one is taken

    @property
    def nothing(self) -> tuple[None, ...]:
        """The values of `keep` for an image that is not in a table."""
        return (None,) * len(self.keep)


def read_image(name: str) -> ImageLike:
    """Return the bytes of an image at a path or URL. Raises ImageError or OSError."""
    if name.startswith(remote.WEB) or remote.is_remote(name):
        content = remote.read(name)
        if len(content) > MAX_BYTES:
            raise too_large(name, len(content))
        return content
    regular = _read_regular(name)
    return read_encoded(name, largest=MAX_BYTES) if regular is None else regular


def _read_regular(path: str) -> bytes | None:
    """Return the content of a file, or None if it is unusual or cannot be read.

    This takes 10 microseconds. `read_encoded`, which says what is wrong, takes 60.
    """
    try:
        descriptor = os.open(path, FLAGS)
    except (OSError, ValueError):
        return None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_BYTES:
            return None
        content = os.read(descriptor, facts.st_size + 1)
        return content if len(content) == facts.st_size else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def too_large(name: str, size: int) -> Exception:
    """Return the error for an image of `size` bytes."""
    return image_error(
        "too_large_bytes", name, f"expected at most {MAX_BYTES} bytes, got {size}; reduce the image"
    )


def open_file(name: str) -> BinaryIO:
    """Open a local or remote file for reading. Raises InputError or MissingPackage."""
    if remote.is_remote(name):
        return remote.open_file(name)
    if name.startswith(remote.WEB):
        return remote.open_file(name)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # opening a FIFO would block
            raise InputError(f"{shortened(name, 300)}: expected a regular file; pass its path")
        return open(name, "rb")
    except FileNotFoundError as error:
        raise InputError(f"{shortened(name, 300)}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{shortened(name, 300)}: cannot be opened ({reason}); check its permissions"
        ) from error


def identify(kind: str, name: str) -> dict[str, Any]:
    """Return facts that change with the content of a file, but not with its time stamps.

    The digest is that of the first and the last 64 KiB: the index of a zip or Parquet file is at
    its end. Raises InputError or MissingPackage for a file that cannot be read.
    """
    try:
        with open_file(name) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            edges = file.read(EDGE)
            file.seek(max(len(edges), size - EDGE))
            edges += file.read(EDGE)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = shortened(str(error), 200)
        raise InputError(f"{shortened(name, 300)}: cannot be read ({reason}); check it") from error
    digest = hashlib.blake2b(edges, digest_size=16).hexdigest()
    return {"kind": kind, "name": printable(name), "size": size, "digest": digest}


def locate(path: str, table: str) -> str:
    """Return a path or URL in a table: a relative path is relative to the folder of the table."""
    return path if "://" in path else os.path.join(os.path.dirname(table), path)


def is_device_error(error: BaseException) -> bool:
    """Return whether a drive or a connection failed, so the content of the file may be fine."""
    return isinstance(error, OSError) and error.errno in DEVICE_ERRORS


def failed(name: str, error: Exception, kept: Sequence[Any] = ()) -> Item:
    """Return an item whose row has an error."""
    return Item(printable(name), partial(_raise, error), tuple(kept))


def failed_image(name: str, kind: ImageProblem, problem: str, kept: Sequence[Any] = ()) -> Item:
    """Return an item whose row has an ImageError."""
    return failed(name, image_error(kind, printable(name), problem), kept)


def _raise(error: Exception) -> NoReturn:
    raise error
