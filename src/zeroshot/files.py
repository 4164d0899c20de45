"""Write files atomically, hash them, and describe their sizes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zeroshot.errors import SaveError, ZeroshotError, shortened

CHUNK = 1 << 20  # bytes


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` if the block succeeds.

    The temporary file is in the same folder, has a unique name, and is removed after any error.
    The mode is that of the file it replaces, or follows the umask. A link is followed. Raises
    SaveError, also for an OSError of the block that names no other file.
    """
    name = os.fspath(path)
    target = Path(os.path.realpath(path))  # a link keeps pointing to the file that is written
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        try:
            mode = _check_target(target)
            with temporary.open("xb") as file:
                mode = mode or os.fstat(file.fileno()).st_mode
            yield temporary
            os.chmod(temporary, mode & 0o777)  # some writers create files only the owner can read
            os.replace(temporary, target)
        except OSError as error:
            ours = (None, str(temporary), str(target))
            if isinstance(error, ZeroshotError) or error.filename not in ours:
                raise
            raise SaveError(
                f"{shortened(name, 300)}: cannot write the file ({error.strerror or error}); check "
                "its folder, the permissions and the free space",
                source=name,
            ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_target(target: Path) -> int:
    """Return the mode of the file that will be replaced, 0 if none; others cannot be replaced."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder") from None
        return 0
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file, which could be replaced as a whole")
    return mode


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


def format_bytes(number: int) -> str:
    """Return a size for messages: "605 MB", "1.7 GB"."""
    return f"{number / 1e9:.1f} GB" if number >= 999.5e6 else f"{number / 1e6:.3g} MB"
