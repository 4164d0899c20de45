"""List the images that are still to be labeled, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from zeroshot.bulk.dedupe import Replay
from zeroshot.bulk.items import Item, Source
from zeroshot.bulk.output import Output
from zeroshot.bulk.rows import number_row, restore_row
from zeroshot.bulk.shards import Shard
from zeroshot.errors import InputError, shortened


@dataclass(frozen=True)
class PartEnd:
    """Comes after the items of a part."""

    source: int
    chunk: int
    rows: int
    last: bool
    stream: bool = False  # the number of rows of the source was not known
    is_there: bool = False  # the part was finished before


@dataclass(frozen=True)
class Filler:
    """Takes a place in a batch, so that the next part begins with a new one."""


FILLER = Filler()


class Work:
    """The items of the parts of one shard that do not exist.

    A batch never contains images of two parts: the network's results may depend on the size of a
    batch in the last digit, and a part must not depend on which others exist.
    """

    def __init__(
        self,
        output: Output,
        sources: Sequence[Source],
        shard: Shard,
        *,
        align: int,
        replay: bool = False,
        is_stopped: Callable[[], bool] = bool,
    ) -> None:
        self._output, self._sources, self._shard = output, sources, shard
        self._size = int(output.run["part_rows"])
        self._limit = output.run["limit"]
        self._align, self._replay, self._is_stopped = align, replay, is_stopped
        self._there = {(part.source, part.chunk) for part in output.parts()}
        self._rows: dict[int, int] = {}  # of streams that ended
        self._count = 0  # of what was yielded

    def __iter__(self) -> Iterator[Any]:
        for number, source in enumerate(self._sources):
            rows = self._output.run["rows"][number]
            parts = (
                self._stream(number, source) if rows is None else self._split(number, source, rows)
            )
            for each in parts:
                if self._is_stopped():
                    return
                self._count += 1
                yield each
                if type(each) is PartEnd:
                    for _ in range(-self._count % self._align):
                        yield FILLER
                    self._count = 0

    def count(self) -> int | None:
        """Return the number of rows that are left, None if it is not known."""
        total = 0
        for number in range(len(self._sources)):
            rows = self._output.count_rows(number)
            if rows is None:
                return None
            for chunk in range(self._output.count_chunks(number) or 0):
                if self._is_pending(number, chunk):
                    total += min(self._size, rows - chunk * self._size)
        return total

    def _is_pending(self, number: int, chunk: int) -> bool:
        streams = self._output.run["rows"][number] is None
        mine = self._shard.has(number, 0 if streams else chunk)
        return mine and (number, chunk) not in self._there

    def _split(self, number: int, source: Source, rows: int) -> Iterator[Any]:
        """Yield the parts of a source that can be read from any row on."""
        items: Iterator[Item] | None = None
        for chunk in range(-(-rows // self._size)):
            if not self._is_pending(number, chunk):
                if self._shard.has(number, chunk):
                    yield from self._again(number, chunk)
                items = None
                continue
            first = chunk * self._size
            items = source.items(first) if items is None else items
            count = min(self._size, rows - first)
            found = 0
            for item in islice(items, count):
                yield number_row(number, first + found), item
                found += 1
            if found != count:
                raise InputError(
                    f"{shortened(source.name, 200)}: expected {rows} images, found "
                    f"{first + found}; the input changed during the run; restore it, or start over "
                    "in another folder"
                )
            yield PartEnd(number, chunk, count, first + count == rows)

    def _stream(self, number: int, source: Source) -> Iterator[Any]:
        """Yield the parts of a source that is read from its start; finished ones are passed."""
        if not self._shard.has(number):
            return
        chunks = self._output.count_chunks(number)
        if chunks is not None and not any(self._is_pending(number, c) for c in range(chunks)):
            for chunk in range(chunks):
                yield from self._again(number, chunk)
            self._rows[number] = self._output.count_rows(number) or 0
            return
        items = islice(source.items(), self._remaining(number))
        for chunk in range(1 << 40):
            is_there = (number, chunk) in self._there
            found = 0
            first = chunk * self._size
            for item in islice(items, self._size):
                if not is_there:
                    yield number_row(number, first + found), item
                found += 1
                if self._is_stopped():
                    return
            last = found < self._size
            if is_there:
                yield from self._again(number, chunk)
            if last:
                self._rows[number] = first + found
            if last or not is_there:
                yield PartEnd(number, chunk, found, last, stream=True, is_there=is_there)
            if last:
                return

    def _remaining(self, number: int) -> int | None:
        """Return how many rows of a stream are wanted, None for all."""
        if self._limit is None:
            return None
        known = self._output.run["rows"][:number]
        before = sum(self._rows[u] if rows is None else rows for u, rows in enumerate(known))
        return max(0, int(self._limit) - before)

    def _again(self, number: int, chunk: int) -> Iterator[Replay]:
        """Yield the rows of a finished part, if they are needed to find duplicates."""
        if self._replay:
            output, path = self._output, self._output.path_of(number, chunk)
            yield Replay(
                lambda: (restore_row(facts, output.columns) for facts in output.sink.read(path))
            )


def count_limited(sources: Sequence[Source], limit: int | None) -> list[int | None]:
    """Return the number of rows of each source; None for those that are read from the start."""
    counts: list[int | None] = []
    before: int | None = 0
    for source in sources:
        count = source.count() if source.splits else None
        if limit is not None:
            count = None if count is None or before is None else min(count, limit - before)
        before = None if before is None or count is None else before + count
        counts.append(count)
    return counts
