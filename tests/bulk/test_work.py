"""What is left to compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bulk.jobs import run
from tests.bulk.support import Stream, save_images
from zeroshot.bulk.output import Output
from zeroshot.bulk.shards import Shard
from zeroshot.bulk.sources import Listing
from zeroshot.bulk.work import FILLER, PartEnd, Work, count_limited
from zeroshot.errors import InputError


class Memory(Output):
    """An output folder without files."""

    def __init__(self, rows: list[int | None], size: int) -> None:
        super().__init__(Path(), {"rows": rows, "part_rows": size, "limit": None, "format": "csv"})

    def parts(self) -> list[Any]:
        return []

    def count_rows(self, source: int) -> int | None:
        found: int | None = self.run["rows"][source]
        return found


def parts_of(work: list[Any]) -> list[list[int]]:
    """Return the numbers of rows of each part."""
    parts: list[list[int]] = [[]]
    for each in work:
        if type(each) is tuple:
            parts[-1].append(each[0])
        elif type(each) is PartEnd:
            assert each.rows == len(parts[-1])
            parts.append([])
    assert parts.pop() == []
    return parts


@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_the_shards_contain_every_row_once_and_parts_begin_batches(
    count: int, size: int, shards: int, streams: bool
) -> None:
    images = [b""] * count
    source: Any = Stream(images) if streams else Listing.from_names(["x"] * count)
    output = Memory([None if streams else count], size)
    found = []
    for index in range(shards):
        work = list(Work(output, [source], Shard(index, shards), align=4))
        starts = [place for place, each in enumerate(work) if type(each) is PartEnd]
        for place in starts:
            following = next((n for n in range(place + 1, len(work)) if work[n] is not FILLER), 0)
            assert following % 4 == 0
        found += parts_of(work)

    assert sorted(row for part in found for row in part) == list(range(count))
    assert all(part[0] % size == 0 for part in found if part)


def test_the_rows_that_are_left_are_counted() -> None:
    sources = [Listing.from_names(["x"] * 10), Listing.from_names(["x"] * 3)]

    assert Work(Memory([10, 3], 4), sources, Shard(), align=1).count() == 13
    assert Work(Memory([10, 3], 4), sources, Shard(1, 2), align=1).count() == 4 + 3
    assert Work(Memory([10, None], 4), sources, Shard(), align=1).count() is None


def test_a_list_that_became_shorter_is_an_input_error() -> None:
    work = Work(Memory([10], 4), [Listing.from_names(["x"] * 9)], Shard(), align=1)

    with pytest.raises(InputError, match="expected 10 images, found 9"):
        list(work)


def test_work_ends_when_a_stop_is_requested() -> None:
    seen: list[Any] = []
    work = Work(
        Memory([10], 4),
        [Listing.from_names(["x"] * 10)],
        Shard(),
        align=1,
        is_stopped=lambda: len(seen) == 6,
    )
    for each in work:
        seen.append(each)

    assert [each[0] for each in seen if type(each) is tuple] == [0, 1, 2, 3, 4]


def test_a_limit_counts_over_all_sources() -> None:
    lists = [Listing.from_names(["x"] * n) for n in (3, 4, 5)]

    assert count_limited(lists, None) == [3, 4, 5]
    assert count_limited(lists, 5) == [3, 2, 0]
    assert count_limited([lists[0], Stream([b""]), lists[1]], None) == [3, None, 4]
    assert count_limited([lists[0], Stream([b""]), lists[1]], 5) == [3, None, None]


def test_an_empty_list_has_no_parts_and_an_empty_stream_one(tmp_path: Path) -> None:
    run(None, tmp_path / "list", sources=[Listing.from_names([])])
    run(None, tmp_path / "stream", sources=[Stream([])])

    assert Output.open(tmp_path / "list").is_complete
    assert len(Output.open(tmp_path / "stream").parts()) == 1
    assert Output.open(tmp_path / "stream").is_complete


def test_a_source_that_raises_stops_the_run_and_keeps_parts(tmp_path: Path) -> None:
    class Damaged(Stream):
        def items(self, first: int = 0) -> Any:
            yield from super().items(first)
            raise InputError("the archive is truncated")

    images = [path.read_bytes() for path in save_images(tmp_path / "images", 10)]
    with pytest.raises(InputError, match="truncated"):
        run(None, tmp_path / "out", sources=[Damaged(images)], part_rows=4)

    assert len(Output.open(tmp_path / "out").parts()) == 2
    assert not Output.open(tmp_path / "out").is_complete
