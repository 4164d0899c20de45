"""Keep two processes from computing the same parts.

A lock is a file with the host and the process that made it; a thread refreshes its time. `flock`
does not work on every network file system.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

from zeroshot.bulk.folder import (
    LOCK,
    commit,
    commit_first,
    host,
    is_alive,
    process_space,
    start_of,
    temporary_for,
    write_json,
)
from zeroshot.bulk.shards import Shard
from zeroshot.errors import InputError, SaveError, shortened

REFRESH = 15.0  # seconds between two refreshes
DEAD = 120.0  # seconds without one, after which a lock of another host is taken over
TRIES = 5


class Lock:
    """The lock of one shard of a folder; use it in a `with` statement.

    Raises InputError if another process holds it, and SaveError if the folder cannot be written.
    """

    def __init__(self, folder: Path, shard: Shard, *, dead: float = DEAD) -> None:
        self.path = folder / f"{LOCK}-{shard.index + 1}-of-{shard.count}.json"
        self._dead = dead
        self._owner: dict[str, Any] = {"host": host(), "pid": os.getpid(), "id": uuid.uuid4().hex}
        self._owner |= {"start": start_of(os.getpid()), "space": process_space()}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lock:
        self._take(self.path)
        self._thread = threading.Thread(target=self._refresh, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(1.0)
        self._remove(self.path)

    def _take(self, path: Path) -> None:
        """Make a lock file, or take over that of a process that ended.

        Two processes that remove a dead lock could remove each other's new one. So each first takes
        the lock of that one dead lock, looks again, and replaces it.
        """
        for _ in range(TRIES):
            try:
                is_first = commit_first(path, write_json(self._owner))
            except SaveError:
                self._remove(path)  # the name may exist already
                raise
            if is_first:
                return
            owner = _read(path)
            if owner is None:
                continue  # removed meanwhile
            if not is_dead(owner, _age(path), self._dead):
                raise self._refuse(owner)
            name = sha256(json.dumps([path.name, owner], sort_keys=True).encode()).hexdigest()
            claim = path.with_name(f"{LOCK}.{name[:16]}.json")
            self._take(claim)
            try:
                if _read(path) == owner:
                    commit(path, write_json(self._owner))
                    return
            finally:
                self._remove(claim)
        raise self._refuse(_read(path) or {})

    def _remove(self, path: Path) -> None:
        """Remove a lock file if it is this lock's."""
        if _read(path) == self._owner:
            with suppress(OSError):
                path.unlink()

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH):
            with suppress(OSError):
                os.utime(self.path)

    def _refuse(self, owner: dict[str, Any]) -> InputError:
        name, pid = owner.get("host", "?"), owner.get("pid", "?")
        return InputError(
            f"{shortened(str(self.path.parent), 200)}: process {pid} on {shortened(str(name))} is "
            f"writing these parts; wait until it ends, or give each process its own parts with "
            f"shard='1/2' and shard='2/2'; if it does not run, delete {self.path.name}"
        )


def _age(path: Path) -> float:
    """Return the seconds since the last refresh, by the clock of the file system."""
    try:
        return _clock(path.parent) - path.stat().st_mtime
    except OSError:
        return 0.0


def _clock(folder: Path) -> float:
    """Return the time of the file system, which may be that of another machine. Raises OSError."""
    clock = temporary_for(folder / f"{LOCK}-clock")
    try:
        clock.touch()
        return clock.stat().st_mtime
    finally:
        with suppress(OSError):
            clock.unlink()


def is_dead(owner: dict[str, Any], age: float, limit: float = DEAD) -> bool:
    """Return whether the process of a lock has ended; `age` is that of its last refresh.

    The number of a process is not enough: another process may have it now, and containers with one
    host name have numbers of their own.
    """
    pid, space = owner.get("pid"), owner.get("space")
    is_here = owner.get("host") == host() and space in (None, process_space())
    if is_here and isinstance(pid, int) and os.name != "nt":  # there only the age tells
        start = owner.get("start")
        return not is_alive(pid) or (start is not None and start_of(pid) not in (None, start))
    return age > limit


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a lock, {} for a damaged one and None without one."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_unlocked(folder: Path, own: Path | None = None) -> None:
    """Raise InputError if a process holds the lock of any shard of a folder but `own`."""
    try:
        now = _clock(folder)
    except OSError:
        now = time.time()
    for path in sorted(folder.glob(f"{LOCK}-*.json")):
        owner = None if path == own else _read(path)
        with suppress(FileNotFoundError):
            if owner is not None and not is_dead(owner, now - path.stat().st_mtime):
                raise InputError(
                    f"{shortened(str(folder), 200)}: process {owner.get('pid', '?')} on "
                    f"{shortened(str(owner.get('host', '?')))} is writing to this folder; wait "
                    f"until it ends; if it does not run, delete {path.name}"
                )
