"""Whether a file holds the bytes that were published, asked once and remembered in a stamp."""

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


def difference(path: Path, wanted: str, stamp: Path | None = None) -> str:
    """Return the file's hash where it is not the wanted one, and nothing where it is.

    `wanted` is a sha256, or git's sha1 as hubs publish it of small files. With neither, the file is
    compared with what its stamp says it was. The stamp spares the next call from reading a file
    whose size, time and inode are unchanged.
    """
    if SHA1.fullmatch(wanted):
        git, plain = git_sha1(path)
        return "" if wanted in (git, plain) else git  # some mirrors publish the plain sha1
    seen = _read_stamp(stamp)
    wanted = wanted if SHA256.fullmatch(wanted) else str(seen.get("sha256", ""))
    facts = _facts(path)
    if facts.items() <= seen.items() and SHA256.fullmatch(str(seen.get("sha256"))):
        found = str(seen["sha256"])
        if found == wanted:
            return ""
    found = files.sha256(path)
    if wanted and found != wanted:
        return found
    _write_stamp(stamp, facts | {"sha256": found})
    return ""


def published_name(path: Path) -> str:
    """Return the hash by which the hub's cache calls the blob that a snapshot's link points to.

    Only the link itself is followed: the blob may in turn be a link into a store of other names.
    """
    try:
        name = Path(os.readlink(path)).name
    except OSError:
        return ""  # a cache without links
    return name if is_hash(name) else ""


def is_hash(text: str) -> bool:
    """Tell whether this can be a hash that a hub publishes."""
    return SHA256.fullmatch(text) is not None or SHA1.fullmatch(text) is not None


def remove(path: Path) -> bool:
    """Remove a snapshot's link and the blob behind it; tell whether it is gone."""
    try:
        if path.is_symlink():
            (path.parent / os.readlink(path)).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: cannot be removed: %s", path, error)
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
    except OSError as error:  # a read-only cache: the file is hashed again next time
        log.debug("%s: cannot be written: %s", stamp, error)
