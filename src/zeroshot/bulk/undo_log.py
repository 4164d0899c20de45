"""The log of sorted files: each line is on disk before its action begins."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

from zeroshot.bulk.folder import sync_folder
from zeroshot.bulk.placement import Mode
from zeroshot.errors import InputError, SaveError, shortened
from zeroshot.files import write_atomically

LOG_NAME = "_sort-undo.jsonl"
FORMAT = "zeroshot.sort/1"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was placed, or was about to be."""

    mode: Mode
    source: str  # absolute path
    target: str  # relative to the folder of the log
    temporary: str  # of a copy that is not complete; relative too


class UndoLog:
    """The actions of a folder, in order.

    A last line without a line break is ignored: its action never began.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOG_NAME
        self._file: BinaryIO | None = None
        self._entries: dict[str, Entry] = {}  # by target
        self._folders: list[str] = []
        self._made_folder = False
        self._number = 0
        self._length = 0  # bytes of complete lines
        self._read()

    def targets(self) -> dict[str, str]:
        """Return the target of each source."""
        return {entry.source: entry.target for entry in self._entries.values()}

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def has(self, source: str, target: str) -> bool:
        entry = self._entries.get(target)
        return entry is not None and entry.source == source and os.path.lexists(self._at(target))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open the log for more actions; a broken last line is removed. Raises OSError."""
        made = not self.folder.exists()
        if made:
            self.folder.mkdir()
        with self.path.open("ab", buffering=0) as self._file:
            self._file.truncate(self._length)
            if not self._length:
                self._made_folder = made
                self._write({"format": FORMAT, "made_folder": made})
                sync_folder(self.folder)
            for entry in self.entries()[-1:]:  # a copy that a killed process did not complete
                with suppress(FileNotFoundError):
                    self._at(entry.temporary).unlink()
            yield
        self._file = None

    def make_folder(self, name: str) -> None:
        """Make a folder for a label, if it is not there."""
        if not self._at(name).is_dir():
            self._write({"folder": name})
            self._folders.append(name)
            self._at(name).mkdir()

    def begin(self, mode: Mode, source: str, target: str) -> Entry:
        """Write down an action. It is on disk when this returns."""
        self._number += 1
        temporary = f"{target.partition('/')[0]}/.sort-{self._number:06}.tmp"
        entry = Entry(mode, source, target, temporary)
        self._write(asdict(entry))
        self._add(entry)
        return entry

    def cancel(self, entry: Entry) -> None:
        """Write down that an action failed."""
        self._write({"cancel": entry.target})
        self._entries.pop(entry.target, None)

    def close_with(self, remaining: Sequence[Entry]) -> None:
        """Remove the log and empty folders, or keep a log of what could not be undone."""
        for name in reversed(self._folders):
            with suppress(OSError):  # the user's files are in it, or it is gone
                self._at(name).rmdir()
        if remaining:
            records: list[dict[str, Any]] = [{"format": FORMAT, "made_folder": self._made_folder}]
            records += [{"folder": name} for name in self._folders if self._at(name).is_dir()]
            records += [asdict(entry) for entry in remaining]
            with write_atomically(self.path) as temporary:
                temporary.write_bytes(b"".join(map(_line, records)))
            return
        self.path.unlink()
        if self._made_folder:
            with suppress(OSError):
                self.folder.rmdir()

    def _at(self, name: str) -> Path:
        return self.folder / name

    def _write(self, record: dict[str, Any]) -> None:
        assert self._file is not None, "the log is open while files are placed"
        try:
            line = _line(record)
            if self._file.write(line) != len(line):  # it is not buffered
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise SaveError(
                f"{shortened(str(self.path), 300)}: cannot write the log ({error.strerror}); check "
                "the free space, then sort again, or undo",
                source=str(self.path),
            ) from error

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        complete = data[: data.rfind(b"\n") + 1]
        self._length = len(complete)
        for number, line in enumerate(complete.splitlines(), 1):
            try:
                self._take(json.loads(line), first=number == 1)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise InputError(
                    f"{shortened(str(self.path), 300)}: line {number} is no action of sort "
                    f"({shortened(str(error), 100)}); nothing was changed. Restore the file, or "
                    "remove it to give up undoing"
                ) from error

    def _take(self, record: dict[str, Any], first: bool) -> None:
        if first:
            if record["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {record['format']!r}")
            self._made_folder = bool(record["made_folder"])
        elif "folder" in record:
            self._folders.append(_inside(record["folder"], parts=1))
        elif "cancel" in record:
            self._entries.pop(record["cancel"], None)
        else:
            entry = Entry(**record)
            _inside(entry.target, parts=2)
            _inside(entry.temporary, parts=2)
            if entry.mode not in get_args(Mode) or not os.path.isabs(entry.source):
                raise ValueError("expected a mode and an absolute path")
            self._number += 1
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        self._entries.pop(entry.target, None)  # it becomes the last one
        self._entries[entry.target] = entry


def _inside(name: str, parts: int) -> str:
    """Return a relative path of so many parts; others could leave the folder."""
    found = name.replace("\\", "/").split("/") if os.name == "nt" else name.split("/")
    if len(found) != parts or any(part in ("", ".", "..") for part in found):
        raise ValueError(f"path outside of the folder: {name[:80]!r}")
    return name


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True).encode() + b"\n"
