"""Commands that use the image files of a table find them, or say what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def moved(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table whose working folder has another name now; the working folder is another one."""
    new = tmp_path.parent / f"{tmp_path.name}-new"
    other = tmp_path.parent / f"{tmp_path.name}-other"
    other.mkdir()
    monkeypatch.chdir(other)
    shutil.move(tmp_path, new)
    return new


@pytest.mark.parametrize(
    "words",
    [
        ("sort", "--into", "sorted"),
        ("sort", "--into", "sorted", "--dry-run"),
        ("tag", "--min-probability", "0"),
    ],
)
def test_images_that_are_not_found_have_exit_code_3_and_advice(
    words: tuple[str, ...], moved: Path, run: Any
) -> None:
    result = run(words[0], moved / "table", *words[1:])

    assert result.exit_code == 3, result.output
    advice = "run it in the folder where the images were labeled, or pass --root"
    assert f"file not found: 7; {advice}" in result.stderr


@pytest.mark.parametrize("words", [("sort", "--into", "sorted"), ("tag", "--min-probability", "0")])
def test_root_finds_the_images(words: tuple[str, ...], moved: Path, run: Any) -> None:
    result = run(words[0], moved / "table", *words[1:], "--root", moved)

    assert result.exit_code == 0, result.output
    assert "not found" not in result.stderr


def test_a_wrong_root_is_named(moved: Path, run: Any) -> None:
    result = run("tag", moved / "table", "--root", ".")

    assert result.exit_code == 3
    assert "file not found: 7; check --root" in result.stderr
    assert run("tag", moved / "table", "--root", "no-folder").exit_code == 2
