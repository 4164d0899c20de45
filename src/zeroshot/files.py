"""Write files atomically, and hash them."""

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
    """Yield a temporary path that replaces `path` if the block succeeds.

    The temporary file is in the same folder, has a unique name, and is removed after any error. The
    file mode follows the umask. An OSError that the block raises has `path` as its filename.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:16]}")
    try:
        try:
            with temporary.open("xb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
            yield temporary
            os.chmod(temporary, mode)  # some writers create files that only the owner can read
            os.replace(temporary, path)
        except OSError as error:
            if isinstance(error, ZeroshotError):
                raise
            what = error.strerror or str(error)  # numpy reports a full disk without an errno
            raise OSError(error.errno or errno.EIO, what, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_sha1(path: Path) -> tuple[str, str]:
    """Return the sha1 of a file as a git blob and of its plain content, in hex."""
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    plain = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            git.update(chunk)
            plain.update(chunk)
    return git.hexdigest(), plain.hexdigest()
