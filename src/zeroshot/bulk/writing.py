"""Write finished parts, in a thread of its own, and count their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from zeroshot.bulk.fingerprint import describe_part
from zeroshot.bulk.folder import commit, write_json
from zeroshot.bulk.output import Output, Part
from zeroshot.bulk.rows import Row
from zeroshot.bulk.work import PartEnd


class Counts:
    """Numbers of rows, of errors by kind, and of duplicates."""

    def __init__(self) -> None:
        self.rows = self.duplicates = 0
        self.errors: Counter[str] = Counter()

    def add(self, error_kind: str | None, duplicate_of: int | None) -> None:
        """Count one row."""
        self.rows += 1
        if error_kind is not None:
            self.errors[error_kind] += 1
        if duplicate_of is not None:
            self.duplicates += 1

    def add_all(self, other: Counts) -> None:
        """Add the numbers of another part of the table."""
        self.rows += other.rows
        self.duplicates += other.duplicates
        self.errors.update(other.errors)


class Writer:
    """Writes one part while the next is computed; use it in a `with` statement.

    `put` and `finish` raise the SaveError of an earlier part.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="zeroshot-write")
        self._last: Future[None] | None = None
        self.counts: dict[tuple[int, int], Counts] = {}  # of the parts that this process wrote

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True)

    def put(self, end: PartEnd, rows: Sequence[Row]) -> None:
        """Write a part as soon as the one before is written."""
        assert end.is_there or len(rows) == end.rows, (end, len(rows))
        self.finish()
        self._last = self._pool.submit(self._write, end, rows)

    def finish(self) -> None:
        """Wait for the last part."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _write(self, end: PartEnd, rows: Sequence[Row]) -> None:
        output = self._output
        if end.stream and end.last:  # before the part: a part without it is not known as the last
            total = end.chunk * int(output.run["part_rows"]) + end.rows
            commit(output.end_of(end.source), write_json({"rows": total}))
        if end.is_there:
            return
        path = output.path_of(end.source, end.chunk)
        write_part(output, Part(end.source, end.chunk, path), rows, end.last)
        self.counts[end.source, end.chunk] = count(rows)


def write_part(output: Output, part: Part, rows: Sequence[Row], last: bool) -> None:
    """Write or replace a part. Raises SaveError."""
    metadata = describe_part(output.run, part.source, part.chunk, last)
    columns, sink = output.columns, output.sink
    commit(part.path, lambda path: sink.write(rows, columns, metadata, path))


def count(rows: Sequence[Row]) -> Counts:
    """Count rows."""
    counts = Counts()
    for row in rows:
        counts.add(row.error_kind, row.duplicate_of)
    return counts


def count_parts(output: Output, known: dict[tuple[int, int], Counts]) -> Counts:
    """Count the rows of the whole table; `known` contains those of parts that need no reading."""
    total = Counts()
    for part in output.parts():
        counts = known.get((part.source, part.chunk))
        if counts is None:
            counts = Counts()
            for row in output.sink.read(part.path, ("error_kind", "duplicate_of")):
                counts.add(row["error_kind"], row["duplicate_of"])
            output.check_rows(part, counts.rows)
        total.add_all(counts)
    return total
