"""Counts of rows, errors and duplicates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bulk.jobs import run
from tests.bulk.support import save_images
from zeroshot.bulk.counting import Counts, count_parts, count_rows, find_failed
from zeroshot.bulk.output import Output
from zeroshot.bulk.rows import Row
from zeroshot.errors import MissingPackage


def make_output(folder: Path, form: str) -> Output:
    images = save_images(folder / "images", 5, broken=[1])
    images.append(images[0])
    run(images, folder / "out", part_rows=2, format=form, dedupe=True)
    return Output.open(folder / "out")


def test_errors_and_duplicates_are_counted() -> None:
    rows = [Row(0, "a"), Row(1, "b", error_kind="io"), Row(2, "c", duplicate_of=0)]
    counts = count_rows(rows)
    counts.add_all(counts)

    assert (counts.rows, counts.errors, counts.duplicates) == (6, {"io": 2}, 2)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_parts_that_were_not_written_here_are_read(form: str, tmp_path: Path) -> None:
    output = make_output(tmp_path, form)
    known = Counts()
    known.rows = 100

    found = count_parts(output, {})

    assert (found.rows, found.sorted_errors(), found.duplicates) == (6, {"not_image": 1}, 1)
    assert count_parts(output, {(0, 0): known}).rows == 104


def test_pyarrow_is_required_for_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = make_output(tmp_path, "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[parquet\]'"):
        count_parts(output, {})


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_the_first_failed_images_are_found(form: str, tmp_path: Path) -> None:
    images = save_images(tmp_path / "images", 9, broken=[1, 4, 5, 8])
    run(images, tmp_path / "out", part_rows=2, format=form)
    output = Output.open(tmp_path / "out")

    assert find_failed(output, 3) == [str(images[n]) for n in (1, 4, 5)]
    assert find_failed(output, 9) == [str(images[n]) for n in (1, 4, 5, 8)]
