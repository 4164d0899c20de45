"""Run a job: freeze its inputs, compute the parts that are missing, and count the rows.

The parts of a table have fixed boundaries, and a part exists or does not. A run computes the parts
that do not exist, so a table is the same however often its run was stopped.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from zeroshot.bulk import frozen
from zeroshot.bulk.counting import Counts, count_parts
from zeroshot.bulk.dedupe import Deduplicator, Duplicate
from zeroshot.bulk.fingerprint import check_same, check_sources, make_run
from zeroshot.bulk.folder import (
    END,
    OURS,
    RUN,
    SUCCESS,
    check_name,
    commit,
    commit_first,
    find_ours,
    raise_for,
    remove_claim,
    remove_strays,
    write_json,
)
from zeroshot.bulk.items import Item, Source
from zeroshot.bulk.labeling import label_marked
from zeroshot.bulk.lock import Lock, check_unlocked
from zeroshot.bulk.options import JobOptions
from zeroshot.bulk.output import Output
from zeroshot.bulk.retrying import Retry
from zeroshot.bulk.rows import Row
from zeroshot.bulk.sinks import get_sink
from zeroshot.bulk.sources import Listing
from zeroshot.bulk.stop import Interrupted, Stop
from zeroshot.bulk.summary import Summary
from zeroshot.bulk.work import PartEnd, Work, count_limited
from zeroshot.bulk.writing import Writer
from zeroshot.classifier import Classifier
from zeroshot.errors import InputError, shortened, some
from zeroshot.progress import Bar

log = logging.getLogger("zeroshot")

CPU_ROWS, DEVICE_ROWS = 4096, 32_768  # of a part
CPU_ALIGN = 32  # items: a multiple of the sizes of batches on a CPU
DEVICE_BATCH = 256  # images; fixed, because the default depends on the free memory
LEAST_ROWS = 200  # before a share of errors stops a run
LOG_SECONDS = 30.0
RESERVED = {*Row.__slots__, "ranking"} - {"kept"}
RANKED = re.compile(r"(label|probability)_\d+")  # columns of CSV
STEP = 32  # rows between two updates of the progress bar


class Job:
    """One call of `zeroshot.label`."""

    def __init__(
        self,
        classifier: Classifier,
        sources: Sequence[Source],
        options: JobOptions,
        *,
        is_searched: bool,
    ) -> None:
        self._classifier = classifier
        self._sources = list(sources)
        self._options = self._complete(options)
        self._is_searched = is_searched
        self._counts = Counts()  # of this run
        self._start = time.monotonic()
        self._stopped: str | None = None
        self._new_files = self._retried = self._repaired = 0

    def _complete(self, options: JobOptions) -> JobOptions:
        """Fill in what depends on the device."""
        device = getattr(getattr(self._classifier.encoder, "device", None), "type", "cpu")
        rows = options.rows
        if device != "cpu" and rows.batch_size is None:
            rows = replace(rows, batch_size=DEVICE_BATCH)
        part_rows = options.part_rows or (CPU_ROWS if device == "cpu" else DEVICE_ROWS)
        return replace(options, rows=rows, part_rows=part_rows)

    def run(self) -> Summary:
        """Do the work. Raises the errors of `zeroshot.label`."""
        folder, options = self._options.out, self._options
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise_for(folder, error)
        with ExitStack() as stack:
            stop = stack.enter_context(Stop())
            lock = stack.enter_context(Lock(folder, options.shard))
            if options.force:
                check_unlocked(folder, lock.path)
                _delete(folder, lock.path)
            remove_strays(folder)
            output = self._open()
            if options.retry:
                retry = Retry(output, self._sources, options.shard, self._classifier, options.rows)
                self._retried = retry.run(options.retry, lambda: stop.is_requested)
                self._repaired = retry.repaired
                self._counts.rows += self._retried
            self._check_stop(stop, 0)
            return self._finish(output, self._compute(output, stop))

    def _open(self) -> Output:
        """Create the run, or open and compare an earlier one; replace lists by frozen ones."""
        folder = self._options.out
        now = make_run(self._classifier, self._describe_options(), {})
        remove_claim(folder / RUN)
        if not (folder / RUN).exists():
            self._create(folder)
        output = Output.open(folder)
        check_same(output.run, now, folder)
        facts = [source.facts() for source in self._sources]
        for number, source in enumerate(self._sources[: len(output.run["inputs"])]):
            name = output.run["inputs"][number]
            if name is None or not isinstance(source, Listing):
                continue
            before, added = output.run["sources"][number], False
            if self._is_searched and before["name"] == source.name:
                added = facts[number]["digest"] != before["digest"]
                facts[number] = before  # files may have been added, but not to this run
            self._sources[number] = thawed = Listing.thaw(folder / name)
            if added:
                self._new_files += len({*source.names}.difference(thawed.names))
        check_sources(output.run, facts, folder)
        self._check_working_folder(output.run)
        self._sources = _with_columns(self._sources, output.run["kept"])
        return output

    def _describe_options(self) -> dict[str, Any]:
        """Return the options that decide what the table contains."""
        options = self._options
        return {
            "top": options.rows.top,
            "format": options.form,
            "embeddings": options.rows.embeddings,
            "scores": "all" if options.rows.scores else "top",
            "part_rows": options.part_rows,
            "batch_size": options.rows.batch_size,
            "keep": list(options.keep),
            "limit": options.limit,
            # of several shards each finds the duplicates in its own parts
            "dedupe": options.shard.count if options.dedupe else 0,
        }

    def _create(self, folder: Path) -> None:
        """Write `_run.json`, unless another process does it first."""
        names: list[str | None] = []
        skipped: dict[str, int] = {}
        for number, source in enumerate(self._sources):
            names.append(None)
            if isinstance(source, Listing):
                names[number] = frozen.freeze(source, number, folder)
            for reason, files in dict(getattr(source, "skipped", None) or {}).items():
                skipped[reason] = skipped.get(reason, 0) + files
        kept, types = _merge_columns(self._sources)
        facts = {
            "sources": [source.facts() for source in self._sources],
            "rows": count_limited(self._sources, self._options.limit),
            "inputs": names,
            "kept": kept,
            "kept_types": types,
            "skipped": skipped,
            "working_folder": os.getcwd(),
        }
        run = make_run(self._classifier, self._describe_options(), facts)
        if not commit_first(folder / RUN, write_json(run)):
            chosen = Output.open(folder).run["inputs"]
            for name in names:
                if name is not None and name not in chosen:
                    (folder / name).unlink(missing_ok=True)

    def _check_working_folder(self, run: Mapping[str, Any]) -> None:
        """Raise InputError if relative paths of the run mean other files now."""
        before = run["working_folder"]
        if before == os.getcwd():
            return
        for source in self._sources:
            names = source.names if isinstance(source, Listing) else ()
            if any(name and "://" not in name and not os.path.isabs(name) for name in names):
                raise InputError(
                    f"the inputs of the run in {shortened(str(self._options.out), 150)} are "
                    f"relative to the folder {shortened(before, 150)}; run it from that folder"
                )

    def _compute(self, output: Output, stop: Stop) -> dict[tuple[int, int], Counts]:
        """Compute and write the parts that are missing; return the counts of those parts."""
        options = self._options
        deduplicator = Deduplicator() if options.dedupe else None
        work = Work(
            output,
            self._sources,
            options.shard,
            align=options.rows.batch_size or CPU_ALIGN,
            replay=options.dedupe,
            is_stopped=lambda: stop.is_requested,
        )
        total = work.count()
        buffer: list[Row] = []
        with Writer(output) as writer:
            bar = Bar("images", total, options.progress)
            items: Iterator[Any] = iter(work)
            if deduplicator is not None:
                items = deduplicator.split(items)
            rows = label_marked(self._classifier, items, options.rows)
            with closing(rows), bar:  # type: ignore[type-var]
                for each in self._watch(rows, stop, bar):
                    kind = type(each)
                    if kind is PartEnd:
                        writer.put(each, buffer)
                        buffer = []
                    elif kind is Row or kind is Duplicate:
                        row = each if deduplicator is None else deduplicator.finish(each)
                        buffer.append(row)
                        self._counts.add(row.error_kind, row.duplicate_of)
                    if self._has_too_many_errors():
                        break
            writer.finish()
        self._check_stop(stop, len(buffer))
        return writer.counts

    def _watch(self, rows: Iterator[Any], stop: Stop, bar: Bar) -> Iterator[Any]:
        """Yield rows until a signal arrives; show the progress."""
        shown, logged = self._counts.rows, time.monotonic()
        for each in rows:
            if stop.is_requested:
                return
            yield each
            new = self._counts.rows - shown
            if new >= STEP or (new and type(each) is PartEnd):
                bar.add(new)
                shown += new
                if time.monotonic() - logged > LOG_SECONDS:
                    logged = time.monotonic()
                    log.info("%d images, %.1f per second, %d errors", shown, *self._rates())

    def _rates(self) -> tuple[float, int]:
        """Return the rows per second and the number of errors of this run."""
        seconds = max(1e-9, time.monotonic() - self._start)
        return self._counts.rows / seconds, self._counts.errors.total()

    def _check_stop(self, stop: Stop, rows: int) -> None:
        if stop.signal is not None:
            raise Interrupted(rows, str(self._options.out), stop.signal)

    def _has_too_many_errors(self) -> bool:
        """Return whether `max_errors` ends the run, and say why in `_stopped`."""
        if self._options.most_errors is None or self._stopped is not None:
            return self._stopped is not None
        most, is_percentage = self._options.most_errors
        errors, rows = self._counts.errors.total(), self._counts.rows
        if is_percentage:
            if rows < LEAST_ROWS or 100 * errors <= most * rows:
                return False
        elif errors <= most:
            return False
        sign = "%" if is_percentage else ""
        self._stopped = f"{errors} of {rows} images failed, more than max_errors={most:g}{sign}"
        return True

    def _finish(self, output: Output, known: dict[tuple[int, int], Counts]) -> Summary:
        """Count the table, and write `_SUCCESS.json` if no part is missing."""
        counts = count_parts(output, known)
        seconds = time.monotonic() - self._start
        is_complete = self._stopped is None and not output.gaps()
        skipped = output.run["skipped"]
        if is_complete:
            before = output.success or {}
            facts = {
                "rows": counts.rows,
                "errors": counts.sorted_errors(),
                "duplicates": counts.duplicates,
                "skipped": skipped,
            }
            if any(before.get(name) != value for name, value in facts.items()):
                facts |= {"seconds": round(seconds, 3)}
                facts |= {"images_per_second": round(self._rates()[0], 3)}
                commit(output.folder / SUCCESS, write_json(facts))
        return Summary(
            rows=counts.rows,
            errors=counts.sorted_errors(),
            duplicates=counts.duplicates,
            seconds=seconds,
            images_per_second=self._rates()[0],
            skipped=skipped,
            out=output.folder,
            computed=self._counts.rows,
            is_complete=is_complete,
            stopped=self._stopped,
            new_files=self._new_files,
            retried=self._retried,
            repaired=self._repaired,
        )


def _merge_columns(sources: Sequence[Source]) -> tuple[list[str], list[str]]:
    """Return the kept columns of all sources and their types; another type in one is text."""
    types: dict[str, str] = {}
    for source in sources:
        for name, kind in zip(_names_of(source), frozen.types_of(source), strict=True):
            types[name] = kind if types.get(name, kind) == kind else "string"
    return list(types), list(types.values())


def _names_of(source: Source) -> list[str]:
    """Return the names that the kept columns of a source have in the table, all different."""
    names: list[str] = []
    taken = set(source.columns)
    for column in source.columns:
        name = column
        while name in RESERVED or RANKED.fullmatch(name) or (name != column and name in taken):
            name = f"in_{name}"
        names.append(name)
    return names


def _with_columns(sources: Sequence[Source], kept: Sequence[str]) -> list[Source]:
    """Return the sources with the values of all kept columns in each item."""
    found: list[Source] = []
    for source in sources:
        names = _names_of(source)
        found.append(source if names == list(kept) else _Wider(source, names, kept))
    return found


class _Wider:
    """A source with more kept columns than it has; the values of the others are None."""

    def __init__(self, source: Source, names: Sequence[str], kept: Sequence[str]) -> None:
        self.kind, self.name, self.splits = source.kind, source.name, source.splits
        self.columns = tuple(kept)
        self.facts, self.count = source.facts, source.count
        self._source = source
        self._places = [names.index(name) if name in names else None for name in kept]

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the items of the source."""
        for item in self._source.items(first):
            kept = tuple(None if p is None else item.kept[p] for p in self._places)
            yield replace(item, kept=kept)


def check_folder(folder: Path, *, force: bool = False) -> None:
    """Raise InputError unless a folder is missing, empty, or written by `zeroshot.label`.

    With `force` it may be one whose `_run.json` is lost or damaged.
    """
    check_name(folder)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise InputError(
            f"{shortened(str(folder), 300)}: expected a folder for the table, got a file; pass "
            "another path"
        ) from None
    except OSError as error:
        raise_for(folder, error)
    if _is_run(folder / RUN):
        return
    found = sorted(name for name in names if not name.startswith(".") and name != RUN)
    if others := [name for name in found if not OURS.fullmatch(name)]:
        raise InputError(
            f"{shortened(str(folder), 200)}: expected an empty folder, or one that zeroshot.label "
            f"wrote, got one with {shortened(some(others, 3), 150)}; pass another folder"
        )
    # the parts of a run that is not known must not become parts of this one
    parts = [name for name in found if name.startswith(("part-", END, SUCCESS))]
    is_damaged = RUN in names and (folder / RUN).stat().st_size > 0
    if (parts or is_damaged) and not force:
        state = "a damaged" if RUN in names else "no"
        listed = f" and {shortened(some(parts, 2), 150)}" if parts else ""
        raise InputError(
            f"{shortened(str(folder), 200)}: expected an empty folder, or one that zeroshot.label "
            f"wrote, got one with {state} {RUN}{listed}; restore {RUN}, pass another folder, or "
            "force=True to start over"
        )


def _is_run(file: Path) -> bool:
    """Return whether a file is the `_run.json` of a table.

    Raises InputError for one of another program.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if isinstance(content, dict) and {"table", "fingerprint"} <= content.keys():
        return True
    raise InputError(
        f"{shortened(str(file), 300)}: expected the description of a table that zeroshot.label "
        "wrote, got a file of another program; pass another folder"
    )


def _delete(folder: Path, lock: Path) -> None:
    """Delete the files of an earlier run; others stay, and the lock of this process."""
    for path in find_ours(folder):
        if path == lock:
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise_for(path, error)


def describe(sources: Sequence[Source], options: JobOptions) -> Summary:
    """Return a Summary with the plan of a run, which writes nothing."""
    counts = count_limited(sources, options.limit)
    row_bytes = get_sink(options.form).ROW_BYTES
    plan = []
    for source, rows in zip(sources, counts, strict=True):
        size = None if rows is None else rows * row_bytes
        plan.append(
            {
                "kind": source.kind,
                "name": source.name,
                "rows": rows,
                "columns": list(source.columns),
                "bytes": size,
            }
        )
    total = sum(rows or 0 for rows in counts)
    return Summary(total, {}, 0, 0.0, 0.0, {}, options.out, is_complete=False, plan=plan)
