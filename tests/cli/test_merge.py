"""`zeroshot merge`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("name", ["all.parquet", "all.csv", "all.jsonl"])
def test_a_table_becomes_one_file(name: str, table: Path, run: Any) -> None:
    result = run("merge", table, name)

    assert result.exit_code == 0, result.output
    assert result.stderr == f"{name}: 7 rows\n"
    assert Path(name).stat().st_size > 200
    assert run("merge", table, name, "-q").stderr == ""  # replaces its own file


def test_rows_are_those_of_the_table(table: Path, run: Any) -> None:
    assert run("merge", table, "all.csv", "--no-embeddings").exit_code == 0

    with Path("all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [f"photos/{n}.png" for n in range(7)]


def test_embeddings_can_be_left_out(table: Path, run: Any) -> None:
    assert run("merge", table, "with.jsonl").exit_code == 0
    assert run("merge", table, "without.jsonl", "--no-embeddings").exit_code == 0

    first = [
        json.loads(Path(name).read_text("utf-8").splitlines()[0])
        for name in ("with.jsonl", "without.jsonl")
    ]
    assert ["embedding" in row for row in first] == [True, False]


def test_missing_parts_are_an_error_unless_allowed(table: Path, run: Any) -> None:
    (table / "part-00000-000000.parquet").unlink()

    refused = run("merge", table, "all.csv")
    allowed = run("merge", table, "all.csv", "--allow-gaps")

    assert refused.exit_code == 2
    assert "or pass --allow-gaps" in refused.stderr
    assert allowed.exit_code == 0
    assert "all.csv: 5 rows" in allowed.stderr


def test_another_file_is_not_replaced(table: Path, run: Any) -> None:
    Path("mine.csv").write_text("my notes\n")

    result = run("merge", table, "mine.csv")

    assert result.exit_code == 2
    assert "exists, and is not a table that zeroshot wrote" in result.stderr
    assert Path("mine.csv").read_text() == "my notes\n"
