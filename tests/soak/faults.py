"""Errors of the disk, and kills between the steps of writing a file; for child processes only."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from zeroshot.bulk import folder, labeling

KILL = 0  # instead of a number of an error
POINTS = ("half", "written", "synced", "renamed")  # what was done of a file


@dataclass(frozen=True)
class Fault:
    """What happens to the n-th file that a process writes."""

    number: int  # errno.ENOSPC or errno.EIO, or KILL
    point: str
    file: int

    def strike(self) -> None:
        """Kill this process, or raise the error."""
        if self.number == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self.number, os.strerror(self.number))

    def install(self) -> None:
        """Patch the functions that write files."""
        write, sync = folder._write, folder.sync_folder
        numbers = count(1)
        is_armed = False

        def faulty_write(temporary: Path, content: Callable[[Path], object]) -> None:
            nonlocal is_armed
            is_armed = next(numbers) == self.file

            def wrapped(path: Path) -> None:
                content(path)
                if is_armed and self.point == "half":
                    os.truncate(path, path.stat().st_size // 2)
                    self.strike()
                if is_armed and self.point == "written":
                    self.strike()

            write(temporary, wrapped)
            if is_armed and self.point == "synced":
                self.strike()

        def faulty_sync(path: Path) -> None:
            if is_armed and self.point == "renamed":
                self.strike()
            sync(path)

        vars(folder).update(_write=faulty_write, sync_folder=faulty_sync)


def draw_fault(draw: random.Random, files: int, *, kill: bool) -> Fault:
    """Return a fault of one of the first files."""
    number = KILL if kill else draw.choice((errno.ENOSPC, errno.EIO))
    return Fault(number, draw.choice(POINTS), draw.randint(1, files))


def break_reads(seed: int, share: float) -> None:
    """Make a share of the images raise EIO when they are read."""
    draw = random.Random(seed)
    prepare = labeling._Labeler.prepare

    def fail() -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def faulty(self: Any, numbered: Any) -> Any:
        if type(numbered) is tuple and draw.random() < share:
            numbered = numbered[0], replace(numbered[1], read=fail)
        return prepare(self, numbered)

    labeling._Labeler.prepare = faulty  # type: ignore[method-assign]


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Callable[[str], None] | None]:
    """Mount a small file system; yield a function that changes its size, or None if not allowed."""
    path.mkdir(parents=True, exist_ok=True)

    def mount(*options: str) -> int:
        command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def resize(to: str) -> None:
        assert mount("-o", f"remount,size={to}") == 0

    try:
        is_mounted = mount("-o", f"size={size}") == 0
    except FileNotFoundError:
        is_mounted = False
    try:
        yield resize if is_mounted else None
    finally:
        if is_mounted:
            subprocess.run(["umount", str(path)], check=True)
