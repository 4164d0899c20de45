"""Lock files: pin each model name to a commit and to the sha256 of every file."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroshot import catalog
from zeroshot.errors import ChecksumError, InputError, ModelNotFound, seen_from, shortened, some
from zeroshot.files import sha256, write_atomically
from zeroshot.hub import checksums
from zeroshot.hub.location import COMMIT
from zeroshot.hub.snapshots import Judge, fetch, fetch_checkpoint

VERSION = 1
HEADER = """\
# Pinned files of each model. Written by `zeroshot lock` and read by
# zeroshot.load(name, lock="{name}"), which loads only these files.
"""


@dataclass(frozen=True)
class PinnedFile:
    """The state of a file when the lock was written."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Pin:
    """The files of a name; a model in the package has an empty repository and commit."""

    name: str
    repository: str
    commit: str
    files: tuple[PinnedFile, ...]  # the weights last


def canonical_name(name: str) -> str:
    """Return a model's name in lock files: its catalog name or the given name."""
    try:
        return catalog.find(name).name
    except ModelNotFound:
        return name


def pin(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    judge: Judge | None = None,
) -> Pin:
    """Download a model's files and return their commit, sizes and hashes.

    `name` is a catalog name or a Hub repository. `revision` is a branch, tag or commit. `judge` is
    called with the configuration files of a repository before its weights are downloaded.
    Raises ModelNotFound, DownloadError and its subclasses.
    """
    try:
        entry = catalog.find(name)
    except ModelNotFound:
        if name.count("/") != 1 or catalog.in_other_format(name) or Path(name).exists():
            raise
        found = fetch(name, revision=revision, cache_dir=cache_dir, offline=offline, judge=judge)
        return Pin(name, name, found.commit, _describe(found.files))
    if entry.path is not None:
        return Pin(entry.name, "", "", _describe({entry.path.name: entry.path}))
    found = fetch_checkpoint(
        entry, revision=revision, cache_dir=cache_dir, offline=offline, judge=judge
    )
    return Pin(entry.name, entry.repository, found.commit, _describe(found.files))


def fetch_pinned(
    lock: str | os.PathLike[str],
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> tuple[str, Path]:
    """Return a locked model's name and weights file, after verifying every file.

    `lock` is the path of a lock file. Raises InputError for an invalid lock file, ModelNotFound for
    a name that is not in it, ChecksumError for different content, and other DownloadErrors.
    """
    pins = read_lock(lock)
    pinned = pins.get(canonical_name(name))
    if pinned is None:
        raise ModelNotFound(
            f"{os.fspath(lock)}: {shortened(name)!r} is not in the lock file, which has "
            f"{some(list(pins), 5) or 'no models'}; to add it, run `zeroshot lock "
            f"{shortened(' '.join([*pins, name]), 150)} -o {os.fspath(lock)}`"
        )
    sha256 = {file.name: file.sha256 for file in pinned.files}
    if pinned.repository:
        found = fetch(
            pinned.repository,
            [file.name for file in pinned.files],
            revision=pinned.commit,
            sha256=sha256,
            cache_dir=cache_dir,
            offline=offline,
        )
        return pinned.name, found.weights
    path = catalog.find(pinned.name).path
    if path is None or set(sha256) != {path.name}:
        raise InputError(
            f"{os.fspath(lock)}: expected a repository for {pinned.name!r}, got none; write the "
            "file again with `zeroshot lock`"
        )
    differing = checksums.find_mismatch(path, sha256[path.name])
    if differing:
        raise ChecksumError(
            f"{path}: checksum mismatch: expected sha256 {sha256[path.name]} from the lock, got "
            f"{differing}; the lock is from another version of this package: install that version, "
            "or run `zeroshot lock` again",
            expected=sha256[path.name],
            found=differing,
        )
    return pinned.name, path


def write_lock(path: str | os.PathLike[str], pins: Iterable[Pin]) -> None:
    """Write a lock file atomically, replacing an existing one. Raises SaveError."""
    path = Path(path)
    shown = path.name.encode(errors="backslashreplace").decode()  # may be invalid UTF-8
    parts = [HEADER.format(name=shown), f"version = {VERSION}\n"]
    for pinned in pins:
        parts.append(
            "\n[[model]]\n"
            f"name = {_quote(pinned.name)}\n"
            f"repository = {_quote(pinned.repository)}\n"
            f"commit = {_quote(pinned.commit)}\n"
            "files = [\n"
            + "".join(
                f"    {{ name = {_quote(file.name)}, size = {file.size}, "
                f"sha256 = {_quote(file.sha256)} }},\n"
                for file in pinned.files
            )
            + "]\n"
        )
    with write_atomically(path) as temporary:
        temporary.write_text("".join(parts), "utf-8")


def read_lock(path: str | os.PathLike[str]) -> dict[str, Pin]:
    """Read a lock file and return its pins by name.

    Raises InputError for an unreadable or invalid file.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file{seen_from(path)}; create it with "
            f"`zeroshot lock NAMES... -o {path}`"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot read the lock file ({error.strerror}); create one with "
            f"`zeroshot lock NAMES... -o {path}`"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path}: not a lock file, expected TOML: {error}; create one with `zeroshot lock`"
        ) from error
    if document.get("version") != VERSION:
        raise InputError(
            f"{path}: expected lock file version {VERSION}, got version "
            f"{document.get('version')!r}; write it again with `zeroshot lock`"
        )
    try:
        pins = [_read_pin(table) for table in document.get("model", [])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: corrupted lock file ({type(error).__name__}: {error}); write it again with "
            "`zeroshot lock`"
        ) from error
    return {pinned.name: pinned for pinned in pins}


def _read_pin(table: dict[str, Any]) -> Pin:
    files = tuple(
        PinnedFile(str(file["name"]), int(file["size"]), str(file["sha256"]))
        for file in table["files"]
    )
    found = Pin(str(table["name"]), str(table["repository"]), str(table["commit"]), files)
    if not files:
        raise ValueError(f"{found.name!r} has no files")
    for file in files:
        if not checksums.SHA256.fullmatch(file.sha256):
            raise ValueError(f"{found.name!r}: {file.name} has no sha256")
    if found.repository and not COMMIT.fullmatch(found.commit):
        raise ValueError(
            f"{found.name!r}: expected a commit of 40 hex digits, got {found.commit!r}"
        )
    return found


def _describe(files: dict[str, Path]) -> tuple[PinnedFile, ...]:
    return tuple(
        PinnedFile(name, path.stat().st_size, sha256(path)) for name, path in files.items()
    )


def _quote(text: str) -> str:
    """Return a TOML basic string: a JSON string with the character 127 escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
