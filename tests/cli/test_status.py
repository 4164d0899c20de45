"""`zeroshot status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_a_complete_table_is_described(table: Path, run: Any) -> None:
    result = run("status", table)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "table: complete",
        "rows    7 in 4 parts",
        "errors  0",
    ]


def test_missing_parts_are_named_with_exit_code_3(table: Path, run: Any) -> None:
    (table / "part-00000-000002.parquet").unlink()

    result = run("status", table)

    assert result.exit_code == 3
    assert "missing 1 part: part-00000-000002.parquet" in result.stdout
    assert "run the same `zeroshot label` command again" in result.stdout


def test_errors_are_counted_by_kind_with_exit_code_3(table_with_errors: Path, run: Any) -> None:
    result = run("status", table_with_errors)

    assert result.exit_code == 3
    assert "errors  1 (not_image 1)" in result.stdout


def test_json_is_one_object(table: Path, run: Any) -> None:
    result = run("status", table, "--json")

    found = json.loads(result.stdout)
    assert (found["rows"], found["errors"], found["is_complete"]) == (7, {}, True)


def test_another_folder_is_refused(tmp_path: Path, run: Any) -> None:
    result = run("status", tmp_path)

    assert result.exit_code == 2
    assert "expected a folder that `zeroshot label` wrote" in result.stderr


def test_advice_after_a_stop_fits_shards_and_errors(table_with_errors: Path, run: Any) -> None:
    words = ("label", "photos", "--out", "shards", "--labels", "cat,dog", "--part-rows", "2")
    run(*words, "--shard", "1/2")
    Path("photos/0.png").write_bytes(b"garbage")
    run(*words[:3], "stopped", *words[4:], "--max-errors", "0")

    shards, stopped = run("status", "shards"), run("status", "stopped")

    for result in (shards, stopped):
        assert "with --shard, the commands of all shares that are missing" in result.stdout
        assert "after a stop by --max-errors, with a larger limit" in result.stdout
    assert (shards.exit_code, stopped.exit_code) == (3, 3)
    assert "next " not in run("status", table_with_errors).stdout
