"""Write files whole or not at all, and hash them."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zeroshot.errors import ZeroshotError

CHUNK = 1 << 20  # bytes


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file to write; it replaces `path` when the block ends without an error.

    The temporary file is beside `path`, has a name of its own for every call, and is removed on any
    error. The mode is what the umask allows. An OSError of the block names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:16]}")
    try:
        try:
            with temporary.open("xb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
            yield temporary
            os.chmod(temporary, mode)  # some writers make files that others cannot read
            os.replace(temporary, path)
        except OSError as error:
            if isinstance(error, ZeroshotError):
                raise
            what = error.strerror or str(error)  # numpy reports a full disk without a number
            raise OSError(error.errno or errno.EIO, what, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_sha1(path: Path) -> tuple[str, str]:
    """Hash a file's content as git does for its blobs, and plainly."""
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    plain = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            git.update(chunk)
            plain.update(chunk)
    return git.hexdigest(), plain.hexdigest()
