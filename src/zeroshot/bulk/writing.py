"""Write finished parts, in a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from zeroshot.bulk.counting import Counts, count_rows
from zeroshot.bulk.fingerprint import describe_part
from zeroshot.bulk.folder import commit, write_json
from zeroshot.bulk.output import Output, Part
from zeroshot.bulk.rows import Row
from zeroshot.bulk.work import PartEnd


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
        self.counts[end.source, end.chunk] = count_rows(rows)


def write_part(output: Output, part: Part, rows: Sequence[Row], last: bool) -> None:
    """Write or replace a part. Raises SaveError."""
    metadata = describe_part(output.run, part.source, part.chunk, last)
    columns, sink = output.columns, output.sink
    commit(part.path, lambda path: sink.write(rows, columns, metadata, path))
