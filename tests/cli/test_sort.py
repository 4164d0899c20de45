"""`zeroshot sort`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from zeroshot.cli import main


def files(folder: str) -> list[Path]:
    """Return the images below a folder."""
    return sorted(Path(folder).rglob("*.png"))


@pytest.mark.parametrize("mode", ["--link", "--copy"])
def test_images_are_sorted_and_taken_back(mode: str, table: Path, run: Any) -> None:
    result = run("sort", table, "--into", "sorted", mode)

    assert result.exit_code == 0, result.output
    assert "7 files into" in result.stderr
    assert "sorted: 7 images sorted" in result.stderr
    assert len(files("sorted")) == 7
    assert {path.is_symlink() for path in files("sorted")} == {mode == "--link"}

    undone = run("sort", "--undo", "--into", "sorted")

    assert undone.exit_code == 0, undone.output
    assert "7 files restored" in undone.stderr
    assert files("sorted") == []
    assert len(files("photos")) == 7


def test_moving_asks_first(table: Path) -> None:
    words = ["sort", str(table), "--into", "sorted", "--move"]

    refused = CliRunner().invoke(main, words, input="n\n")

    assert refused.exit_code == 1
    assert "Move 7 files?" in refused.stderr
    assert len(files("photos")) == 7
    assert CliRunner().invoke(main, words, input="y\n").exit_code == 0
    assert files("photos") == []
    assert CliRunner().invoke(main, ["sort", "--undo", "--into", "sorted"]).exit_code == 0
    assert len(files("photos")) == 7


def test_a_dry_run_writes_nothing(table: Path, run: Any) -> None:
    result = run("sort", table, "--into", "sorted", "--move", "--dry-run")

    assert result.exit_code == 0
    assert "move 7 files into" in result.stderr
    assert not Path("sorted").exists()


def test_improbable_images_go_into_a_folder_or_stay(table: Path, run: Any) -> None:
    words = ("--min-probability", "1", "--copy")
    run("sort", table, "--into", "sorted", *words, "--unknown", "look")
    assert {path.parent.name for path in files("sorted")} == {"look"}

    assert run("sort", table, "--into", "other", *words, "--skip-unknown").exit_code == 0
    assert files("other") == []


def test_a_file_that_is_gone_has_exit_code_3(table: Path, run: Any) -> None:
    edited = run("sort", table, "--into", "sorted", "--copy")
    assert edited.exit_code == 0
    files("sorted")[0].write_bytes(b"edited")

    undone = run("sort", "--undo", "--into", "sorted")

    assert undone.exit_code == 3
    assert "6 files restored" in undone.stderr
    assert "left as it is" in undone.stderr


def test_a_folder_is_required_and_checked(table: Path, run: Any) -> None:
    missing = run("sort", "--into", "sorted")
    wrong = run("sort", "photos", "--into", "sorted")
    nothing = run("sort", "--undo", "--into", "photos")

    assert (missing.exit_code, wrong.exit_code, nothing.exit_code) == (2, 2, 2)
    assert "expected the folder of a table" in missing.stderr
    assert "there is nothing to undo" in nothing.stderr


def test_undo_refuses_a_dry_run_and_changes_nothing(table: Path, run: Any) -> None:
    assert run("sort", table, "--into", "sorted", "--copy").exit_code == 0

    result = run("sort", "--undo", "--into", "sorted", "--dry-run")

    assert result.exit_code == 2
    assert "expected either --undo or --dry-run" in result.stderr
    assert len(files("sorted")) == 7


def test_two_ways_to_place_files_are_refused(table: Path, run: Any) -> None:
    result = run("sort", table, "--into", "sorted", "--copy", "--move")

    assert result.exit_code == 2
    assert "got --copy and --move; omit one" in result.stderr
    assert not Path("sorted").exists()


def test_the_plan_lists_files_to_place_and_the_end_says_how_to_undo(table: Path, run: Any) -> None:
    first = run("sort", table, "--into", "my sorted", "--copy")
    again = run("sort", table, "--into", "my sorted", "--copy")

    assert "to undo: zeroshot sort --undo --into 'my sorted'" in first.stderr
    assert again.stderr.splitlines()[1:] == ["already there: 7"]
    assert "copy 0 files" in again.stderr
