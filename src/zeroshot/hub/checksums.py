"""Verify files against published hashes, and cache the result in a stamp file."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

from zeroshot import files
from zeroshot.files import git_sha1, write_atomically

SHA256 = re.compile(r"[0-9a-f]{64}")
SHA1 = re.compile(r"[0-9a-f]{40}")

log = logging.getLogger("zeroshot")


def find_mismatch(path: Path, expected: str, stamp: Path | None = None) -> str:
    """Return the file's hash if it differs from the expected one, else "".

    `expected` is a sha256, or the git sha1 that the Hub publishes for small files. Otherwise the
    file is compared with the hash in its stamp. With a stamp, the next call does not read a file
    whose size, modification time and inode are unchanged. Raises OSError.
    """
    if SHA1.fullmatch(expected):
        git, plain = git_sha1(path)
        return "" if expected in (git, plain) else git  # some mirrors publish the plain sha1
    seen = _read_stamp(stamp)
    expected = expected if SHA256.fullmatch(expected) else str(seen.get("sha256", ""))
    facts = _facts(path)
    if facts.items() <= seen.items() and SHA256.fullmatch(str(seen.get("sha256"))):
        found = str(seen["sha256"])
        if found == expected:
            return ""
    found = files.sha256(path)
    if expected and found != expected:
        return found
    _write_stamp(stamp, facts | {"sha256": found})
    return ""


def published_name(path: Path) -> str:
    """Return the hash that names the blob behind a symlink of the Hub cache.

    Returns "" if the name is not a hash. Only this link is followed, because the blob itself may
    be a link into another store.
    """
    try:
        name = Path(os.readlink(path)).name
    except OSError:
        return ""  # a cache without symlinks
    return name if is_hash(name) else ""


def is_hash(text: str) -> bool:
    """Return whether this is a sha256 or sha1 in hex, as the Hub publishes."""
    return SHA256.fullmatch(text) is not None or SHA1.fullmatch(text) is not None


def remove(path: Path) -> bool:
    """Remove a symlink of the Hub cache and its blob; return whether this succeeded."""
    try:
        if path.is_symlink():
            (path.parent / os.readlink(path)).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: cannot remove the file: %s", path, error)
        return False
    return True


def _facts(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def _read_stamp(stamp: Path | None) -> dict[str, object]:
    if stamp is None:
        return {}
    try:
        document = json.loads(stamp.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write_stamp(stamp: Path | None, document: dict[str, object]) -> None:
    if stamp is None:
        return
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(stamp) as temporary:
            temporary.write_text(json.dumps(document), "utf-8")
    except OSError as error:  # read-only cache: the file is hashed again next time
        log.debug("%s: cannot write the stamp: %s", stamp, error)
