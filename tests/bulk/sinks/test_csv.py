"""Parts as CSV."""

from __future__ import annotations

import csv as reader
from pathlib import Path

import pytest

from tests.bulk.sinks.samples import METADATA, PLAIN, WIDE, make_rows
from zeroshot.bulk.rows import restore_row
from zeroshot.bulk.sinks import csv
from zeroshot.errors import InputError


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part.csv"
    csv.write(make_rows(), WIDE, METADATA, path)
    return path


def test_a_line_has_the_source_and_the_ranking_first(part: Path) -> None:
    with part.open(newline="", encoding="utf-8") as file:
        header, first, *_ = reader.reader(file)

    assert header[:6] == ["source", "label", "probability", "label_2", "probability_2", "error"]
    assert first[:6] == ["a.jpg", "dog", "0.75", "cat", "0.25", ""]
    assert header[-2:] == ["caption", "id"]


def test_rows_survive_a_round_trip(part: Path, tmp_path: Path) -> None:
    labeled, duplicate, error, unsure = csv.read(part)

    assert labeled["labels"] == ["dog", "cat"]
    assert labeled["probabilities"] == [0.75, 0.25]
    assert labeled["hash"] == bytes(range(16))
    assert labeled["caption"] == "ünï\ncode"
    assert duplicate["duplicate_of"] == 0
    assert (error["label"], error["error_kind"]) == (None, "not_image")
    assert unsure["label"] is None
    again = tmp_path / "again.csv"
    csv.write([restore_row(row, WIDE) for row in csv.read(part)], WIDE, METADATA, again)
    assert again.read_bytes() == part.read_bytes()


def test_a_part_without_rows_has_a_header(tmp_path: Path) -> None:
    csv.write([], PLAIN, METADATA, tmp_path / "part.csv")

    assert list(csv.read(tmp_path / "part.csv")) == []


def test_another_table_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    path.write_text("name,age\n")

    with pytest.raises(InputError, match="not a CSV file of a run"):
        list(csv.read(path))
