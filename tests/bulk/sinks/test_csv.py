"""Parts as CSV."""

from __future__ import annotations

import csv as reader
from pathlib import Path

import pytest

from tests.bulk.sinks.samples import METADATA, PLAIN, WIDE, make_rows
from zeroshot.bulk.rows import Row, restore_row
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


def test_a_carriage_return_does_not_end_a_row(tmp_path: Path) -> None:
    names = ["Icon\r.png", "a\r\nb.png", "\r", "plain.png"]
    rows = [Row(place, name, error_kind="io", error="x") for place, name in enumerate(names)]
    csv.write(rows, PLAIN, METADATA, tmp_path / "part.csv")

    assert [row["source"] for row in csv.read(tmp_path / "part.csv")] == names
    with (tmp_path / "part.csv").open(newline="", encoding="utf-8") as file:
        assert [line[0] for line in reader.reader(file)] == ["source", *names]
    assert (tmp_path / "part.csv").read_text().endswith("\nplain.png,,,,,x,io,3,,,,,\n")


@pytest.mark.parametrize("size", [1, 0.5, 0.9])
def test_a_damaged_part_is_an_input_error(size: float, part: Path) -> None:
    content = part.read_bytes()
    for damaged in (content[: int(size * len(content)) - 9], content[:150] + b"\xff\xfe,\n,"):
        part.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged") as caught:
            list(csv.read(part))
        assert len(str(caught.value)) < 600
