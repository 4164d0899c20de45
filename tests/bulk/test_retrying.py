"""Rows that are computed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bulk.jobs import run
from tests.bulk.support import Stream, contents, make_classifier, save_images
from zeroshot.bulk.output import Output
from zeroshot.bulk.retrying import PASSING, parse_kinds
from zeroshot.errors import InputError


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_only_failed_rows_are_computed_and_other_parts_stay(form: str, tmp_path: Path) -> None:
    images = save_images(tmp_path / "images", 30, broken=[4])
    hidden = {path: path.read_bytes() for path in (images[5], images[20], images[21])}
    for path in hidden:
        path.unlink()
    first = run(images, tmp_path / "out", part_rows=8, format=form)
    assert first.errors == {"not_found": 3, "not_image": 1}
    before = contents(tmp_path / "out")
    for path, content in hidden.items():
        path.write_bytes(content)
    classifier = make_classifier()

    summary = run(
        images, tmp_path / "out", part_rows=8, format=form, retry_errors=True,
        classifier=classifier,
    )  # fmt: skip

    assert (summary.rows, summary.errors, summary.computed) == (30, {"not_image": 1}, 3)
    assert classifier.encoder.images == 3  # type: ignore[attr-defined]
    after = contents(tmp_path / "out")
    assert [name for name in after if after[name] != before[name]] == [
        f"part-00000-000000.{form}", f"part-00000-000002.{form}"
    ]  # fmt: skip
    run(images, tmp_path / "whole", part_rows=8, format=form)
    assert after == contents(tmp_path / "whole")


def test_a_stream_is_read_once_for_all_failed_rows(tmp_path: Path) -> None:
    good = [path.read_bytes() for path in save_images(tmp_path / "images", 20)]
    broken: list[Any] = list(good)
    for place in (3, 11, 12):
        broken[place] = TimeoutError("slow")
    run(None, tmp_path / "out", sources=[Stream(broken)], part_rows=6)
    source = Stream(good)

    summary = run(None, tmp_path / "out", sources=[source], part_rows=6, retry=("timeout",))

    assert (source.reads, summary.retried, summary.repaired) == (3, 3, 3)
    assert (summary.rows, summary.errors) == (20, {})
    rows = list(Output.open(tmp_path / "out").rows())
    assert [row["source"] for row in rows] == [f"stream#{place}" for place in range(20)]
    run(None, tmp_path / "whole", sources=[Stream(good)], part_rows=6)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_row_that_fails_again_keeps_its_error(tmp_path: Path) -> None:
    images: list[Any] = [PermissionError(13, "denied"), OSError(5, "broken")]
    options: dict[str, Any] = {"sources": [Stream(images)], "retry": ("permission",)}

    for _ in range(2):
        assert run(None, tmp_path / "out", **options).errors == {"io": 1, "permission": 1}


def test_a_source_with_fewer_images_is_refused(tmp_path: Path) -> None:
    run(None, tmp_path / "out", sources=[Stream([b"x", OSError()])])
    short = Stream([b"x"])
    short.facts = lambda: {"kind": "stream", "name": "stream", "size": 2}  # type: ignore[method-assign]

    with pytest.raises(InputError, match="fewer images than in the earlier run"):
        run(None, tmp_path / "out", sources=[short], retry=("io",))


def test_kinds_are_a_list_or_text() -> None:
    assert parse_kinds(True) == PASSING
    assert parse_kinds(False) == parse_kinds(None) == ()
    assert parse_kinds("timeout,io") == parse_kinds(["timeout", "io"]) == ("timeout", "io")
    assert parse_kinds(" timeout, oom") == ("timeout", "oom")
    for value in (3, [3], [""], [], "", "timeot", "io,photos", ["internal", None]):
        with pytest.raises(InputError, match=r"retry_errors.* the kinds are bad_shape") as caught:
            parse_kinds(value)
        assert len(str(caught.value)) < 600
