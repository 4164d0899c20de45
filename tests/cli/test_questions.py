"""Questions before files are deleted or moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

WORDS = {
    "label": ("label", "photos", "--out", "table", "--labels", "red,blue", "--force"),
    "sort": ("sort", "table", "--into", "sorted", "--move"),
}


def files() -> set[Path]:
    """Return all files below the working folder."""
    return {path for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("n\n", "Error: not confirmed, so nothing was changed; answer y, or pass --yes"),
        ("", "Error: expected an answer on standard input, got none; pass --yes to answer yes"),
    ],
)
def test_an_answer_other_than_yes_has_one_line_and_exit_code_1(
    answer: str, expected: str, command: str, table: Path, run: Any
) -> None:
    before = files()

    result = run(*WORDS[command], stdin=answer)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == expected
    assert "Aborted" not in result.stderr
    assert files() == before


@pytest.mark.parametrize("command", WORDS)
def test_ctrl_c_at_a_question_has_exit_code_130(
    command: str, table: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click, "confirm", _interrupted)

    result = run(*WORDS[command])

    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Error: interrupted"


def _interrupted(*_: Any, **__: Any) -> bool:
    """Do what `click.confirm` does at Ctrl-C."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise click.Abort from None
