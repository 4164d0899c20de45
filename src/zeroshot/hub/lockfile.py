"""A file that pins names to a commit and to the sha256 of every file, so that nothing changes."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroshot import catalog
from zeroshot.errors import ChecksumError, InputError, ModelNotFound
from zeroshot.files import sha256, write_atomically
from zeroshot.hub import checksums
from zeroshot.hub.location import COMMIT
from zeroshot.hub.snapshots import fetch, fetch_checkpoint

VERSION = 1
HEADER = """\
# Which files each name stands for. Written by `zeroshot lock`, read by
# zeroshot.load(name, lock="{name}"), which then loads these and nothing else.
"""


@dataclass(frozen=True)
class PinnedFile:
    """A file as it was when the lock was written."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Pin:
    """What a name is locked to; a model within the package has neither repository nor commit."""

    name: str
    repository: str
    commit: str
    files: tuple[PinnedFile, ...]  # the weights last


def canonical(name: str) -> str:
    """Return the name a lock knows a model by: the catalogue's, else as given."""
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
) -> Pin:
    """Fetch a model's files and write down what they are.

    Raises ModelNotFound and the errors of a download.
    """
    try:
        entry = catalog.find(name)
    except ModelNotFound:
        if name.count("/") != 1 or Path(name).exists():
            raise
        found = fetch(name, revision=revision, cache_dir=cache_dir, offline=offline)
        return Pin(name, name, found.commit, _described(found.files))
    if entry.path is not None:
        return Pin(entry.name, "", "", _described({entry.path.name: entry.path}))
    found = fetch_checkpoint(entry, revision=revision, cache_dir=cache_dir, offline=offline)
    return Pin(entry.name, entry.repository, found.commit, _described(found.files))


def fetch_pinned(
    lock: str | os.PathLike[str],
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> tuple[str, Path]:
    """Return a locked model's name and weights file, every file being what the lock says.

    Raises ModelNotFound for a name that the lock does not hold, ChecksumError for other content.
    """
    pins = read_lock(lock)
    pinned = pins.get(canonical(name))
    if pinned is None:
        raise ModelNotFound(
            f"{os.fspath(lock)}: holds no {name!r}, only {', '.join(pins) or 'nothing'}; write it "
            f"anew with `zeroshot lock {' '.join(pins)} {name} -o {os.fspath(lock)}`"
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
        raise InputError(f"{os.fspath(lock)}: {pinned.name!r} is locked to no repository")
    differing = checksums.difference(path, sha256[path.name])
    if differing:
        raise ChecksumError(
            f"{path}: has sha256 {differing}, locked is {sha256[path.name]}; it came with another "
            "version of this package: install that one, or lock anew",
            expected=sha256[path.name],
            found=differing,
        )
    return pinned.name, path


def write_lock(path: str | os.PathLike[str], pins: Iterable[Pin]) -> None:
    """Write a lock file, all at once; what it held before is gone. Raises OSError."""
    path = Path(path)
    parts = [HEADER.format(name=path.name), f"version = {VERSION}\n"]
    for pinned in pins:
        parts.append(
            "\n[[model]]\n"
            f"name = {_quoted(pinned.name)}\n"
            f"repository = {_quoted(pinned.repository)}\n"
            f"commit = {_quoted(pinned.commit)}\n"
            "files = [\n"
            + "".join(
                f"    {{ name = {_quoted(file.name)}, size = {file.size}, "
                f"sha256 = {_quoted(file.sha256)} }},\n"
                for file in pinned.files
            )
            + "]\n"
        )
    with write_atomically(path) as temporary:
        temporary.write_text("".join(parts), "utf-8")


def read_lock(path: str | os.PathLike[str]) -> dict[str, Pin]:
    """Read a lock file: pins by name. Raises InputError for what is not one."""
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); `zeroshot lock NAMES... -o {path}` "
            "writes one"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: is not a lock file: {error}") from error
    if document.get("version") != VERSION:
        raise InputError(
            f"{path}: is a lock of version {document.get('version')!r}, wanted {VERSION}; write it "
            "anew with `zeroshot lock`"
        )
    try:
        pins = [_read_pin(table) for table in document.get("model", [])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: is damaged ({type(error).__name__}: {error}); write it anew with "
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
        raise ValueError(f"{found.name!r}: commit is {found.commit!r}, wanted 40 hex digits")
    return found


def _described(files: dict[str, Path]) -> tuple[PinnedFile, ...]:
    return tuple(
        PinnedFile(name, path.stat().st_size, sha256(path)) for name, path in files.items()
    )


def _quoted(text: str) -> str:
    """Write a TOML basic string; JSON's are such, but for the character 127."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
