"""Sort labeled images into one folder per label, by links, copies or moves, and undo it.

Nothing is overwritten. `_sort-undo.jsonl` in the folder lists every action before it happens, so
`undo_sort` restores the files also after the process was killed. A sidecar photo.jpg.xmp goes with
its image.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from zeroshot.arguments import file_path, one_of
from zeroshot.bulk import placement
from zeroshot.bulk.local_files import (
    FolderNames,
    Skipped,
    check_probability,
    folded,
    local_file,
    numbered,
    safe_name,
)
from zeroshot.bulk.output import Output
from zeroshot.bulk.placement import Mode
from zeroshot.bulk.undo_log import LOG_NAME, UndoLog
from zeroshot.errors import InputError, SaveError, short_errors, shortened

LONGEST_FILE_NAME = 240  # bytes of a file name with its number
MOST_FAILURES = 100  # that are kept with their reason; all are counted

_STOP = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # other files would fail as well


@dataclass(frozen=True, slots=True)
class Action:
    """One file that is linked, copied or moved."""

    source: str  # absolute path
    target: str  # relative to the folder: label/name


@dataclass(frozen=True)
class Plan:
    """What `apply_sort` will do. `print(plan)` shows it; nothing has been written yet.

    Example:
        >>> from pathlib import Path
        >>> print(zeroshot.bulk.Plan(Path("sorted"), "copy", (), {"cat": 2}, 2, 0))
        copy 0 files into sorted
        already there: 2
    """

    into: Path
    mode: Mode
    actions: tuple[Action, ...]
    counts: Mapping[str, int]  # images per folder, with those that are there already
    present: int  # images that are there already
    renamed: int  # images that get a number because another image has their name
    skipped: Mapping[str, int] = field(default_factory=dict)  # rows by reason
    missing_parts: int = 0  # of a table that is incomplete

    def __str__(self) -> str:
        files = "1 file" if len(self.actions) == 1 else f"{len(self.actions):,} files"
        lines = [f"{self.mode} {files} into {shortened(str(self.into), 200)}"]
        counts = Counter(action.target.partition("/")[0] for action in self.actions)
        width = max(map(len, counts), default=0)
        most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        lines += [f"  {name:<{width}}  {count:>9,}" for name, count in most]
        facts = {"already there": self.present, "numbered (same name)": self.renamed}
        facts |= {f"skipped, {reason}": count for reason, count in sorted(self.skipped.items())}
        facts["parts of the table that are missing"] = self.missing_parts
        lines += [f"{name}: {count:,}" for name, count in facts.items() if count]
        return "\n".join(lines)


@dataclass(frozen=True)
class Sorted:
    """What `apply_sort` did.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> done = zeroshot.bulk.sort("pets", "sorted")
        >>> done.placed, done.failed
        (1, 0)
    """

    into: Path
    placed: int  # files, with sidecars
    present: int  # images that were there already
    failed: int  # files
    failures: tuple[tuple[str, str], ...]  # source and reason, of the first 100
    skipped: Mapping[str, int]


@dataclass(frozen=True)
class Undone:
    """What `undo_sort` did; `kept` lists files that were changed since, with the reason.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> zeroshot.bulk.sort("pets", "sorted").placed
        1
        >>> undone = zeroshot.bulk.undo_sort("sorted")
        >>> undone.restored, undone.kept
        (1, ())
    """

    restored: int  # files, with sidecars
    kept: tuple[tuple[str, str], ...]


def plan_rows(
    rows: Iterable[Mapping[str, Any]],
    into: str | os.PathLike[str],
    *,
    mode: Mode = "link",
    min_probability: float = 0.0,
    unknown: str | None = "unsorted",
    labels: Sequence[str] = (),
    kinds: Sequence[str] = (),
    root: str | os.PathLike[str] | None = None,
) -> Plan:
    """Plan how images are sorted, from rows with `source`, `label` and `probability`.

    `labels` are all labels of the run, so that folder names do not depend on the rows. Images below
    `min_probability` and without an answer go into the folder `unknown`, or stay if it is None.
    Relative sources start at `root`, by default the working folder. Raises InputError.
    """
    folder = Path(os.path.abspath(file_path(into)))
    _check(folder, mode, min_probability, unknown)
    planner = _Planner(folder, mode, UndoLog(folder).targets())
    base = Path(os.path.abspath(root or "."))
    names = FolderNames([LOG_NAME, *([unknown] if unknown is not None else [])])
    for known in labels:
        names[known]
    for row in rows:
        label = row.get("label")
        sure = label is not None and (row.get("probability") or 0.0) >= min_probability
        planner.add(row, names[str(label)] if sure else unknown, kinds, base)
    return planner.plan()


@short_errors
def plan_sort(
    folder: str | os.PathLike[str],
    into: str | os.PathLike[str],
    *,
    mode: Mode = "link",
    min_probability: float = 0.0,
    unknown: str | None = "unsorted",
    root: str | os.PathLike[str] | None = None,
) -> Plan:
    """Plan how the images of a table are sorted into one folder per label; write nothing.

    Images inside of archives, Parquet files and videos, URLs and error rows are skipped and
    counted. The folder name of a label is valid on Linux, macOS and Windows.

    Args:
        folder: A folder that `zeroshot.label` wrote.
        into: Folder for the folders. It is created; files in it are never overwritten.
        mode: "link" makes symbolic links, "copy" copies and "move" moves the files.
        min_probability: Images whose label is less probable go into the folder `unknown`.
        unknown: Name of that folder, also for images without an answer. None leaves them out.
        root: Folder where relative paths of the table start. None is the folder in which the
            images were labeled, or the working folder if that does not exist.

    Returns:
        A Plan: print it, and pass it to `apply_sort`.

    Raises:
        InputError: An argument is invalid, or `folder` was not written by `zeroshot.label`.
        MissingPackage: The table is Parquet and pyarrow is not installed.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> plan = zeroshot.bulk.plan_sort("pets", "sorted", mode="copy")
        >>> len(plan.actions), plan.counts
        (1, {'cat': 1})
    """
    output = Output.open(folder)
    plan = plan_rows(
        output.rows(),
        into,
        mode=mode,
        min_probability=min_probability,
        unknown=unknown,
        labels=output.columns.labels,
        kinds=[facts["kind"] for facts in output.run["sources"]],
        root=output.find_root(root),
    )
    return replace(plan, missing_parts=len(output.gaps()))


@short_errors
def sort(
    folder: str | os.PathLike[str],
    into: str | os.PathLike[str],
    *,
    mode: Mode = "link",
    min_probability: float = 0.0,
    unknown: str | None = "unsorted",
    root: str | os.PathLike[str] | None = None,
) -> Sorted:
    """Sort the images of a table into one folder per label: `plan_sort`, then `apply_sort`.

    Args:
        folder: A folder that `zeroshot.label` wrote.
        into: Folder for the folders. It is created; files in it are never overwritten.
        mode: "link" makes symbolic links, "copy" copies and "move" moves the files.
        min_probability: Images whose label is less probable go into the folder `unknown`.
        unknown: Name of that folder, also for images without an answer. None leaves them out.
        root: Folder where relative paths of the table start. None is the folder in which the
            images were labeled, or the working folder if that does not exist.

    Returns:
        A Sorted, with the number of files and of failures.

    Raises:
        InputError: As for `plan_sort`.
        SaveError: As for `apply_sort`.
        MissingPackage: As for `plan_sort`.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> zeroshot.bulk.sort("pets", "sorted").placed
        1
        >>> zeroshot.bulk.undo_sort("sorted").restored
        1
    """
    options: dict[str, Any] = {"mode": mode, "min_probability": min_probability, "root": root}
    return apply_sort(plan_sort(folder, into, unknown=unknown, **options))


@short_errors
def apply_sort(plan: Plan) -> Sorted:
    """Carry out a plan of `plan_sort`.

    A file that cannot be placed is counted as failed, and the others are placed.

    Args:
        plan: The plan.

    Returns:
        A Sorted, with the number of files and of failures.

    Raises:
        SaveError: The disk is full, or nothing can be written. Sort again, or `undo_sort`.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> plan = zeroshot.bulk.plan_sort("pets", "sorted", mode="copy")
        >>> zeroshot.bulk.apply_sort(plan).placed
        1
    """
    failures: list[tuple[str, str]] = []
    failed = 0
    log = UndoLog(plan.into)
    try:
        with log.writing():
            for action in plan.actions:
                try:
                    _act(plan, action, log)
                except OSError as error:
                    if isinstance(error, SaveError) or error.errno in _STOP:
                        raise
                    failed += 1
                    if len(failures) < MOST_FAILURES:
                        failures.append((action.source, error.strerror or str(error)))
    except SaveError:
        raise
    except OSError as error:
        raise SaveError(
            f"{shortened(str(plan.into), 300)}: cannot write ({error.strerror or error}); check "
            "the free space and the permissions, then sort again, or undo",
            source=str(plan.into),
        ) from error
    placed = len(plan.actions) - failed
    return Sorted(plan.into, placed, plan.present, failed, tuple(failures), plan.skipped)


@short_errors
def undo_sort(into: str | os.PathLike[str]) -> Undone:
    """Take back everything that was sorted into a folder, also by a process that was killed.

    Files that were changed since stay where they are and are listed. Folders that are empty then,
    and the log, are removed. Call it again after a problem.

    Args:
        into: The folder that was given to `sort`.

    Returns:
        An Undone, with the number of files and the list of those that stay.

    Raises:
        InputError: `sort` did not write the folder, or its log is damaged.
        SaveError: The log cannot be updated.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> zeroshot.bulk.sort("pets", "sorted", mode="move").placed
        1
        >>> zeroshot.bulk.undo_sort("sorted").restored
        1
    """
    folder = Path(os.path.abspath(file_path(into)))
    log = UndoLog(folder)
    if not log.path.is_file():
        raise InputError(
            f"{shortened(str(folder), 300)}: expected a folder written by sort, got one without "
            f"{LOG_NAME}; there is nothing to undo"
        )
    restored, kept = 0, []
    for entry in reversed(log.entries()):
        temporary, target = folder / entry.temporary, folder / entry.target
        try:
            outcome = placement.take_back(entry.mode, Path(entry.source), target, temporary)
        except OSError as error:
            kept.append((entry, error.strerror or str(error)))
            continue
        restored += outcome == "undone"
        if outcome not in ("undone", "nothing to undo"):
            kept.append((entry, outcome))
    try:
        log.close_with([entry for entry, _ in reversed(kept)])
    except OSError as error:
        raise SaveError(
            f"{shortened(str(log.path), 300)}: cannot update the log ({error.strerror or error}); "
            "check the permissions, then undo again",
            source=str(log.path),
        ) from error
    return Undone(restored, tuple((str(folder / entry.target), why) for entry, why in kept))


def _check(folder: Path, mode: str, min_probability: float, unknown: str | None) -> None:
    one_of("mode", mode, get_args(Mode))
    check_probability("min_probability", min_probability)
    if unknown is not None and safe_name(unknown) != unknown:
        raise InputError(
            f"unknown={shortened(unknown)!r} must be a plain folder name or None; try "
            f"{safe_name(unknown)!r}"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"into={shortened(str(folder), 300)!r}: expected a folder, got a file; choose another "
            "name"
        )
    if not folder.parent.is_dir():
        raise InputError(
            f"into={shortened(str(folder), 200)!r} is in {shortened(str(folder.parent), 200)!r}, "
            "which is no folder; create it first"
        )
    if (folder / "_run.json").exists():
        raise InputError(
            f"into={shortened(str(folder), 300)!r} contains a table of labels; choose another "
            "folder for the images"
        )


def _act(plan: Plan, action: Action, log: UndoLog) -> None:
    """Place one file: folder, log, action. Raises OSError if the file cannot be placed."""
    source, target = Path(action.source), plan.into / action.target
    if log.has(action.source, action.target):  # a move that was stopped half-way
        placement.finish_move(source, target)
        return
    log.make_folder(target.parent.name)
    entry = log.begin(plan.mode, action.source, action.target)
    temporary = plan.into / entry.temporary
    try:
        placement.place(plan.mode, source, target, temporary)
    except OSError as error:
        if not isinstance(error, FileExistsError):  # else the target is not ours
            placement.take_back(plan.mode, source, target, temporary)
        log.cancel(entry)
        raise


class _Planner:
    """Chooses a name for each image, in the order of the rows."""

    def __init__(self, into: Path, mode: Mode, before: Mapping[str, str]) -> None:
        self.into, self.mode, self.before = into, mode, before
        self.actions: list[Action] = []
        self.counts: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.present = self.renamed = 0
        self.seen: set[str] = set()
        self.claimed: dict[str, set[str]] = {}  # folder -> folded names that this plan uses
        self.existing: dict[str, dict[str, str]] = {}  # folder -> folded name -> name on disk
        self.numbers: dict[tuple[str, str], int] = {}  # folder, folded name -> last number
        for target in before.values():
            if os.path.lexists(into / target):
                label, _, name = target.partition("/")
                self.claimed.setdefault(label, set()).add(folded(name))

    def add(
        self, row: Mapping[str, Any], name: str | None, kinds: Sequence[str], root: Path
    ) -> None:
        """Add a row, whose image belongs into the folder `name`."""
        source = os.path.abspath(root / str(row["source"]))
        if not row.get("error_kind") and self._is_sorted(source, name):
            return
        found = local_file(row, kinds, root)
        if isinstance(found, Skipped):
            self.skipped[found.reason] += 1
        elif name is None:
            self.skipped["below min_probability or no answer"] += 1
        elif source in self.seen:
            self.skipped["listed twice"] += 1
        elif self.mode == "move" and found.is_symlink():
            self.skipped["symbolic link, not moved"] += 1
        else:
            self.seen.add(source)
            self.counts[name] += 1
            self._place(Path(source), name)

    def _is_sorted(self, source: str, name: str | None) -> bool:
        """Return whether the log has the image, and finish a move that was stopped."""
        target = self.before.get(source)
        if target is None or source in self.seen or not os.path.exists(self.into / target):
            return False
        folder = os.path.dirname(target)
        if folder != name:
            self.skipped["sorted before under another label; undo first"] += 1
            return True
        self.seen.add(source)
        self.counts[folder] += 1
        if self.mode == "move" and os.path.lexists(source):
            self.actions.append(Action(source, target))
        else:
            self.present += 1
        self._place_sidecar(source, target)
        return True

    def _place(self, source: Path, folder: str) -> None:
        """Choose the first free name; an equal file that is there already is used."""
        claimed, existing = self.claimed.setdefault(folder, set()), self._existing(folder)
        counter = (folder, folded(source.name))
        first = self.numbers.get(counter, 1)  # earlier names are taken
        for number, name in numbered(source.stem, source.suffix, LONGEST_FILE_NAME, first):
            key = folded(name)
            if key in claimed:
                continue
            there = key in existing
            if there and not self._is_there(source, self.into / folder / existing[key]):
                continue
            claimed.add(key)
            self.numbers[counter] = number
            target = f"{folder}/{existing[key] if there else name}"
            if there:
                self.present += 1
            else:
                self.renamed += number > 1
                self.actions.append(Action(str(source), target))
            self._place_sidecar(str(source), target)
            return

    def _place_sidecar(self, image: str, image_target: str) -> None:
        """Give the sidecar of an image the name that the image got."""
        source, target = f"{image}.xmp", f"{image_target}.xmp"
        if not os.path.isfile(source) or (self.mode == "move" and os.path.islink(source)):
            return
        there = self.before.get(source)
        if there is not None and os.path.lexists(self.into / there):
            if self.mode == "move":
                self.actions.append(Action(source, there))
            return
        folder, _, name = target.partition("/")
        claimed, existing = self.claimed.setdefault(folder, set()), self._existing(folder)
        key = folded(name)
        if key in existing and self._is_there(Path(source), self.into / folder / existing[key]):
            return
        if key in claimed or key in existing:
            self.skipped["sidecar whose name is taken"] += 1
            return
        claimed.add(key)
        self.actions.append(Action(source, target))

    def _is_there(self, source: Path, target: Path) -> bool:
        if self.mode == "move":
            return placement.is_same_entry(source, target)
        return placement.is_placed(self.mode, source, target)

    def _existing(self, folder: str) -> dict[str, str]:
        if folder not in self.existing:
            try:
                names = os.listdir(self.into / folder)
            except OSError:  # not there yet; `apply_sort` reports anything else
                names = []
            self.existing[folder] = {folded(name): name for name in names}
        return self.existing[folder]

    def plan(self) -> Plan:
        counts, skipped = dict(self.counts), dict(self.skipped)
        return Plan(
            self.into, self.mode, tuple(self.actions), counts, self.present, self.renamed, skipped
        )
