"""Describe the state of a labeled folder: rows, errors, missing parts, running processes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zeroshot.bulk.counting import Counts, count_part
from zeroshot.bulk.folder import LOCK
from zeroshot.bulk.lock import is_dead
from zeroshot.bulk.output import Output, Part
from zeroshot.errors import short_errors, some

RECENT = 64  # parts whose times give the throughput


@dataclass(frozen=True)
class Lock:
    """A process that writes to the folder, or did."""

    name: str  # of the lock file
    host: str
    pid: int
    age: float  # seconds since its last sign of life
    is_running: bool  # as far as this host can see


@dataclass(frozen=True)
class Status:
    """The state of a folder; prints as a few lines.

    Args:
        folder: The folder.
        rows: Rows of all parts.
        errors: Number of rows with an error, by kind.
        duplicates: Rows of images that an earlier row has too.
        parts: Number of parts.
        gaps: Names of missing parts.
        locks: Processes that write to the folder.
        is_complete: Whether the run has finished and no part is missing.
        images_per_second: Throughput: of the whole run if it has finished, else of the last parts;
            None if it is unknown.

    Example:
        >>> from pathlib import Path
        >>> from zeroshot.bulk import Status
        >>> print(Status(Path("pets"), 9, {"truncated": 2}, 0, 1, (), (), True, 180.0))
        pets: complete
        rows    9 in 1 part
        errors  2 (truncated 2)
        speed   180 images/s
    """

    folder: Path
    rows: int
    errors: Mapping[str, int]
    duplicates: int
    parts: int
    gaps: Sequence[str]
    locks: Sequence[Lock]
    is_complete: bool
    images_per_second: float | None

    @property
    def failed(self) -> int:
        """Number of rows with an error."""
        return sum(self.errors.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that can be written as JSON."""
        return {**asdict(self), "folder": str(self.folder), "errors": dict(self.errors)}

    def __str__(self) -> str:
        state = "complete" if self.is_complete else "not complete"
        parts = "1 part" if self.parts == 1 else f"{self.parts:,} parts"
        lines = [f"{self.folder}: {state}", f"rows    {self.rows:,} in {parts}"]
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in self.errors.items())
        lines.append(f"errors  {self.failed:,} ({kinds})" if kinds else "errors  0")
        if self.duplicates:
            lines.append(f"copies  {self.duplicates:,} duplicates")
        if self.gaps:
            missing = "1 part" if len(self.gaps) == 1 else f"{len(self.gaps):,} parts"
            lines.append(f"missing {missing}: {some(self.gaps, 3)}")
        for lock in self.locks:
            state = "running" if lock.is_running else "ended  "
            lines.append(f"{state} pid {lock.pid} on {lock.host}, active {lock.age:.0f} s ago")
        if self.images_per_second is not None:
            lines.append(f"speed   {self.images_per_second:,.0f} images/s")
        if not self.is_complete and not any(lock.is_running for lock in self.locks):
            lines.append("next    run the same `zeroshot label` command again to continue;")
            lines.append("        with --shard, the commands of all shares that are missing;")
            lines.append("        after a stop by --max-errors, with a larger limit")
        return "\n".join(lines)


@short_errors
def read_status(folder: str | os.PathLike[str]) -> Status:
    """Describe the state of a folder that `zeroshot label` writes or wrote.

    Args:
        folder: The folder.

    Returns:
        A `Status`; `print` shows it, `to_dict` converts it to plain data.

    Raises:
        InputError: It is no such folder, or a part cannot be read.
        MissingPackage: The parts are Parquet, and pyarrow is not installed.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> zeroshot.bulk.read_status("pets").is_complete
        True
    """
    output = Output.open(folder)
    parts = output.parts()
    counts = [count_part(output, part) for part in parts]
    total = Counts()
    for each in counts:
        total.add_all(each)
    return Status(
        folder=Path(folder),
        rows=total.rows,
        errors=total.sorted_errors(),
        duplicates=total.duplicates,
        parts=len(parts),
        gaps=tuple(gap.path.name for gap in output.gaps()),
        locks=_read_locks(Path(folder)),
        is_complete=output.is_complete,
        images_per_second=_throughput(output, parts, [each.rows for each in counts]),
    )


def _throughput(output: Output, parts: Sequence[Part], sizes: Sequence[int]) -> float | None:
    """Return the images per second of a finished run, or of the parts written last."""
    with suppress(ValueError, TypeError, KeyError):
        return float((output.success or {})["images_per_second"])
    times = []
    for part, size in zip(parts, sizes, strict=True):
        with suppress(OSError):  # replaced at this moment
            times.append((part.path.stat().st_mtime, size))
    recent = sorted(times)[-RECENT:]
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    rows = sum(size for _, size in recent[1:])  # the first one only marks the beginning
    return rows / (recent[-1][0] - recent[0][0])


def _read_locks(folder: Path) -> tuple[Lock, ...]:
    """Return the processes that have a lock file, whose time is their last sign of life."""
    locks = []
    for file in sorted(folder.glob(f"{LOCK}-*.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):  # removed, or written right now
            facts = json.loads(file.read_text("utf-8"))
            age = max(0.0, time.time() - file.stat().st_mtime)
            running = not is_dead(facts, age)
            locks.append(Lock(file.name, str(facts["host"]), int(facts["pid"]), age, running))
    return tuple(locks)
