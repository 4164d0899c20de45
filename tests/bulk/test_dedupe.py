"""Images with equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bulk.jobs import run
from tests.bulk.support import Stream, contents, make_classifier, save_images
from tests.support import flat
from zeroshot.bulk.dedupe import Deduplicator, Replay
from zeroshot.bulk.items import Item
from zeroshot.bulk.labeling import RowOptions, label_marked
from zeroshot.bulk.output import Output
from zeroshot.bulk.rows import Row


@pytest.fixture
def three(tmp_path: Path) -> list[bytes]:
    """Two images and a damaged file."""
    return [path.read_bytes() for path in save_images(tmp_path / "three", 3, broken=[2])]


def test_duplicates_repeat_the_labels_or_the_error(three: list[bytes], tmp_path: Path) -> None:
    classifier = make_classifier()
    source = Stream([*three, *reversed(three), three[0]])
    summary = run(
        None, tmp_path / "out", sources=[source], dedupe=True, part_rows=4, classifier=classifier,
        rows=RowOptions(embeddings=True, scores=True),
    )  # fmt: skip

    rows = list(Output.open(tmp_path / "out").rows())
    assert [row["duplicate_of"] for row in rows] == [None, None, None, 2, 1, 0, 0]
    assert summary.duplicates == 4
    assert classifier.encoder.images == 2  # type: ignore[attr-defined]
    for row in rows[3:]:
        first = rows[row["duplicate_of"]]
        for name in ("label", "labels", "probabilities", "width", "hash", "error_kind", "error"):
            assert row[name] == first[name]
        assert row["embedding"].tolist() == first["embedding"].tolist()
        assert row["source"] != first["source"]
    assert rows[3]["error_kind"] == "not_image"
    assert rows[4]["label"] == "green"


def test_without_dedupe_every_image_is_computed(three: list[bytes], tmp_path: Path) -> None:
    summary = run(None, tmp_path / "out", sources=[Stream(three * 2)])

    assert summary.duplicates == 0


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_continued_run_finds_the_same_duplicates(
    form: str, three: list[bytes], tmp_path: Path
) -> None:
    images = [path.read_bytes() for path in save_images(tmp_path / "more", 12)]
    content = [*images[:6], three[2], *images[3:9], three[2], *images[:12]]
    options: dict[str, Any] = {"dedupe": True, "part_rows": 4, "form": form}
    run(None, tmp_path / "out", sources=[Stream(content)], **options)
    before = contents(tmp_path / "out")

    for name in before:
        (tmp_path / "out" / name).unlink()
        run(None, tmp_path / "out", sources=[Stream(content)], **options)
        assert contents(tmp_path / "out") == before


def test_images_that_cannot_be_read_are_no_duplicates(tmp_path: Path) -> None:
    images = [OSError(5, "Input/output error")] * 2 + [flat("red")] * 2

    run(None, tmp_path / "out", sources=[Stream(images)], dedupe=True)

    rows = list(Output.open(tmp_path / "out").rows())
    assert [row["duplicate_of"] for row in rows] == [None] * 4
    assert [row["error_kind"] for row in rows] == ["io", "io", None, None]


def test_only_the_last_hashes_are_remembered(three: list[bytes]) -> None:
    found = label(Deduplicator(limit=1), [three[0], three[0], three[1], three[0]])

    assert [row.duplicate_of for row in found] == [None, 0, None, None]


def label(deduplicator: Deduplicator, content: list[bytes]) -> list[Row]:
    work = [(n, Item(str(n), lambda c=c: c)) for n, c in enumerate(content)]  # type: ignore[misc]
    rows = label_marked(make_classifier(), deduplicator.split(work), RowOptions())
    return [deduplicator.finish(row) for row in rows]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 8))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_result_equals_that_of_a_simple_cache(order: list[int], limit: int) -> None:
    content = [b"garbage %d" % number for number in order]
    cache: dict[int, int] = {}
    expected = []
    for place, number in enumerate(order):
        first = cache.pop(number, None)
        expected.append(first)
        cache[number] = place if first is None else first
        if len(cache) > limit:
            del cache[next(iter(cache))]

    assert [row.duplicate_of for row in label(Deduplicator(limit), content)] == expected


def test_finished_rows_are_remembered_in_their_place(three: list[bytes]) -> None:
    (first,) = label(Deduplicator(), three[:1])
    deduplicator = Deduplicator()
    work = [Replay(lambda: [first]), (5, Item("again", lambda: three[0]))]

    (mark,) = deduplicator.split(work)
    row = deduplicator.finish(mark)

    assert (row.row, row.source, row.label, row.duplicate_of) == (5, "again", "red", 0)
