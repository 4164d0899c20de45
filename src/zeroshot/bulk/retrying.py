"""Compute the rows again that failed for a reason that may pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing
from typing import get_args

from zeroshot.arguments import iterator
from zeroshot.bulk import labeling
from zeroshot.bulk.items import Item, Source
from zeroshot.bulk.labeling import RowOptions, label_items
from zeroshot.bulk.output import Output, Part
from zeroshot.bulk.rows import Row, restore_row
from zeroshot.bulk.shards import Shard
from zeroshot.bulk.writing import write_part
from zeroshot.classifier import Classifier
from zeroshot.errors import ImageProblem, InputError, shortened

KINDS = {*get_args(ImageProblem), *(kind for _, kind in labeling.KINDS), "oom", "internal"}
PASSING = ("timeout", "io", "permission", "not_found")  # kinds of errors


def parse_kinds(value: object) -> tuple[str, ...]:
    """Return the kinds of errors to retry: True is those that may pass. Raises InputError."""
    if value is True:
        return PASSING
    if value is None or value is False:
        return ()
    kinds = [kind.strip() for kind in value.split(",")] if isinstance(value, str) else value
    if isinstance(kinds, list | tuple | Set | Iterator):
        kinds = tuple(iterator("retry_errors", kinds))
        if kinds and all(isinstance(kind, str) and kind in KINDS for kind in kinds):
            return kinds
    raise InputError(
        f"expected retry_errors as True or kinds of errors, got {shortened(repr(value))}; the "
        f"kinds are {', '.join(sorted(KINDS))}"
    )


class Retry:
    """Replaces the failed rows of finished parts."""

    def __init__(
        self,
        output: Output,
        sources: Sequence[Source],
        shard: Shard,
        classifier: Classifier,
        options: RowOptions,
    ) -> None:
        self._output, self._sources, self._shard = output, sources, shard
        self._classifier, self._options = classifier, options
        self._size = int(output.run["part_rows"])
        self.repaired = 0  # rows that have no error any more

    def run(self, kinds: Sequence[str], is_stopped: Callable[[], bool] = bool) -> int:
        """Compute the rows of these kinds of errors again; return their number.

        A part is replaced at once, when all of its rows are computed.
        """
        done = 0
        streams: dict[int, Iterator[Item]] = {}  # the rest of a source, read from its start
        positions: dict[int, int] = {}
        for part in self._output.parts():
            rows, places = self._find(part, kinds)
            if is_stopped():
                break
            if not places:
                continue
            first = part.chunk * self._size
            if self._output.run["rows"][part.source] is None:
                items = streams.setdefault(part.source, self._sources[part.source].items())
                start = positions.get(part.source, 0)
                positions[part.source] = first + places[-1] + 1
            else:
                items, start = (
                    self._sources[part.source].items(first + places[0]),
                    first + places[0],
                )
            wanted = _pick(items, start, [first + place for place in places])
            numbered = zip((rows[place].row for place in places), wanted, strict=False)
            again = label_items(self._classifier, numbered, self._options)
            with closing(again):  # type: ignore[type-var]
                for place, row in zip(places, again, strict=False):
                    if is_stopped():
                        return done
                    row.duplicate_of = rows[place].duplicate_of
                    rows[place] = row
            self._write(part, rows)
            done += len(places)
            self.repaired += sum(rows[place].error_kind is None for place in places)
        return done

    def _find(self, part: Part, kinds: Sequence[str]) -> tuple[list[Row], list[int]]:
        """Return the rows of a part and the places of those to compute; none of both for none."""
        streams = self._output.run["rows"][part.source] is None
        if not self._shard.has(part.source, 0 if streams else part.chunk):
            return [], []
        sink = self._output.sink
        kinds_found = [row["error_kind"] for row in sink.read(part.path, ("error_kind",))]
        places = [place for place, kind in enumerate(kinds_found) if kind in kinds]
        if not places:
            return [], []
        columns = self._output.columns
        return [restore_row(facts, columns) for facts in sink.read(part.path)], places

    def _write(self, part: Part, rows: Sequence[Row]) -> None:
        chunks = self._output.count_chunks(part.source)
        last = chunks is not None and part.chunk == chunks - 1
        write_part(self._output, part, rows, last)


def _pick(items: Iterator[Item], start: int, places: Sequence[int]) -> Iterator[Item]:
    """Yield the items at these places of a source; the first of `items` is at `start`."""
    wanted = set(places)
    for place in range(start, places[-1] + 1):
        item = next(items, None)
        if item is None:
            raise InputError(
                f"the input has fewer images than in the earlier run, {place} instead of more than "
                f"{places[-1]}; restore it, or start over in another folder"
            )
        if place in wanted:
            yield item
