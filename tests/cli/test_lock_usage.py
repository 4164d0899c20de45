"""`zeroshot lock` writes a lock file that `--lock` loads from."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zeroshot import hub
from zeroshot.cli import main
from zeroshot.cli.failures import NO_MODEL


def lock(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["lock", *map(str, arguments)])


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A lock file of the embedded model."""
    path = tmp_path / "zeroshot.lock"
    assert lock("mini", "--offline", "-o", path).exit_code == 0
    return path


def test_the_lock_file_names_the_model_and_its_files(tmp_path: Path) -> None:
    path = tmp_path / "my.lock"

    result = lock("mini", "mini", "-o", path)

    assert result.exit_code == 0, result.output
    (pin,) = hub.read_lock(path).values()
    assert (pin.name, pin.repository, len(pin.files)) == ("mini", "", 1)
    assert result.stdout.startswith("mini  in the package  1 files, ")
    assert f"written to {path}" in result.stderr


def test_the_default_output_is_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert lock("mini").exit_code == 0
    assert list(hub.read_lock("zeroshot.lock")) == ["mini"]


def test_a_locked_model_classifies(locked: Path, photos: list[Path]) -> None:
    words = ["classify", str(photos[0]), "-l", "cat,dog", "-m", "mini", "--lock", str(locked)]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.output


def test_a_model_missing_from_the_lock_exits_with_4(locked: Path, photos: list[Path]) -> None:
    words = ["classify", str(photos[0]), "-l", "cat,dog", "-m", "RN50", "--lock", str(locked)]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == NO_MODEL
    assert "holds no 'RN50'" in result.stderr


def test_a_lock_file_is_overwritten_and_other_files_are_not(locked: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")

    assert lock("mini", "-o", locked).exit_code == 0
    refused = lock("mini", "-o", notes)

    assert (refused.exit_code, notes.read_text()) == (2, "mine")
    assert "exists and is not a lock file" in refused.stderr


def test_an_unknown_name_exits_with_4_and_keeps_the_lock_file(locked: Path) -> None:
    before = locked.read_bytes()

    result = lock("mini", "ViT-B-23", "--offline", "-o", locked)

    assert result.exit_code == NO_MODEL
    assert "did you mean 'ViT-B/32'?" in result.stderr
    assert locked.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "Missing argument"), (["mini", "RN50", "--revision", "main"], "a single name")],
)
def test_wrong_usage_exits_with_2(arguments: list[str], says: str) -> None:
    result = lock(*arguments)

    assert result.exit_code == 2
    assert says in result.stderr
