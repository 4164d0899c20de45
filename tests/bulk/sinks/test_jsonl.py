"""Parts as JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bulk.sinks.samples import METADATA, WIDE, make_rows
from zeroshot.bulk.rows import restore_row
from zeroshot.bulk.sinks import jsonl
from zeroshot.errors import InputError


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part.jsonl"
    jsonl.write(make_rows(), WIDE, METADATA, path)
    return path


def test_a_line_is_a_prediction_with_row_and_error_kind(part: Path) -> None:
    first = json.loads(part.read_text("utf-8").splitlines()[0])

    assert first["ranking"][0] == {"label": "dog", "probability": 0.75}
    assert {"source", "label", "probability", "row", "error_kind"} <= first.keys()
    assert first["embedding"] == [0.5, -0.5, 0.5, 0.5]


def test_rows_survive_a_round_trip(part: Path, tmp_path: Path) -> None:
    rows = list(jsonl.read(part))

    assert rows[0]["labels"] == ["dog", "cat"]
    assert rows[0]["id"] == 7
    assert rows[2]["embedding"].tolist() == [0, 0, 0, 0]
    again = tmp_path / "again.jsonl"
    jsonl.write([restore_row(row, WIDE) for row in rows], WIDE, METADATA, again)
    assert again.read_bytes() == part.read_bytes()


@pytest.mark.parametrize("line", ["{", "[]", '{"row": 1}', "3", "\udcff"])
def test_another_line_is_an_input_error(line: str, tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_text(f"{line}\n", errors="surrogateescape")

    with pytest.raises(InputError, match="line 1 is not a row of a run"):
        list(jsonl.read(path))
