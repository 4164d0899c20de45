"""Link, copy or move one file without overwriting another, and take that back.

A name that exists is never replaced. A copy appears under its name when it is complete.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

Mode = Literal["link", "copy", "move"]
Outcome = Literal["undone", "nothing to undo", "changed since", "its place is taken"]

WINDOWS = os.name == "nt"

# of os.link: other device, not supported by the file system, not allowed, too many links
_NO_HARD_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_HARD_LINK |= {errno.EMLINK, errno.ENOSYS, errno.EINVAL}


def place(mode: Mode, source: Path, target: Path, temporary: Path) -> None:
    """Link, copy or move a file.

    A link is a symbolic link, or a hard link where Windows forbids symbolic ones. `temporary` is in
    the folder of the target. Raises FileExistsError if `target` exists, and other OSErrors.
    """
    if mode == "link":
        _link(source, target)
    elif mode == "copy":
        _copy(source, target, temporary)
    else:
        _move(source, target, temporary)


def is_placed(mode: Mode, source: Path, target: Path) -> bool:
    """Return whether `target` is what `place` would make of an existing source."""
    try:
        if mode == "link":
            return target.samefile(source)
        return target.samefile(source) or _same_bytes(source, target)
    except OSError:
        return False


def is_same_entry(source: Path, target: Path) -> bool:
    """Return whether two paths are one file under one name, so that removing one removes both."""
    try:
        if not target.samefile(source):
            return False
        same = os.path.realpath(source.parent) == os.path.realpath(target.parent)
        return (same and source.name == target.name) or source.lstat().st_nlink < 2
    except OSError:
        return False


def finish_move(source: Path, target: Path) -> None:
    """Remove the source of a move that was stopped after the target was complete.

    Raises FileExistsError if the target is another file, and other OSErrors.
    """
    if not is_placed("move", source, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    if not is_same_entry(source, target):
        source.unlink()


def take_back(mode: Mode, source: Path, target: Path, temporary: Path) -> Outcome:
    """Undo `place`, also if it was stopped at any point, or never began. Raises OSError."""
    with suppress(FileNotFoundError):
        temporary.unlink()
    if not os.path.lexists(target):
        return "nothing to undo"
    if mode == "link":
        return _remove_link(source, target)
    if os.path.lexists(source):
        if is_same_entry(source, target) or target.is_symlink() or not _same_file(source, target):
            return "changed since" if mode == "copy" else "its place is taken"
        target.unlink()
        return "undone"
    if mode == "copy":
        return "changed since"  # the original is gone: the copy may be the last one
    source.parent.mkdir(parents=True, exist_ok=True)
    _move(target, source, source.with_name(f".{target.name[:100]}.zeroshot-undo"))
    return "undone"


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError as error:
        if isinstance(error, FileExistsError) or not WINDOWS:
            raise
        os.link(source, target)


def _remove_link(source: Path, target: Path) -> Outcome:
    if target.is_symlink():
        ours = os.readlink(target) == str(source)
    else:  # a hard link
        ours = is_placed("link", source, target) and not is_same_entry(source, target)
    if ours:
        target.unlink()
    return "undone" if ours else "changed since"


def _copy(source: Path, target: Path, temporary: Path) -> None:
    try:
        shutil.copy2(source, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        _rename(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _move(source: Path, target: Path, temporary: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINK:
            raise
        if source.stat().st_dev == target.parent.stat().st_dev:
            _rename(source, target)
            return
        _copy(source, target, temporary)
    source.unlink()


def _rename(source: Path, target: Path) -> None:
    """Rename a file without replacing another."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINK:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)  # replaces nothing but a file made since the line above
    else:
        source.unlink()


def _same_file(source: Path, target: Path) -> bool:
    return target.samefile(source) or _same_bytes(source, target)


def _same_bytes(source: Path, target: Path) -> bool:
    sizes = source.stat().st_size == target.stat().st_size
    return sizes and filecmp.cmp(source, target, shallow=False)
