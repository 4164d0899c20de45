"""Fixtures of the command-line tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import zeroshot
from zeroshot.cli import main

WITH_MODEL = ("classify", "encode", "evaluate", "find", "label", "relabel")


@pytest.fixture
def one_model(tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands share the tiny model instead of loading it each time."""
    load = zeroshot.load

    def shared_load(name: str, **options: Any) -> zeroshot.Model:
        shared = name == str(tiny_path) and options.get("dtype") is None
        return tiny if shared else load(name, **options)

    monkeypatch.setattr(zeroshot, "load", shared_load)


@pytest.fixture
def run(tiny_path: Path, one_model: None) -> Any:
    """Return a function that runs a command, on the tiny model by default."""

    def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
        words = [str(a) for a in arguments]
        if words[0] in WITH_MODEL and "--model" not in words:
            words += ["--model", str(tiny_path)]
        return CliRunner().invoke(main, words, input=stdin)

    return run


@pytest.fixture
def table(run: Any, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of seven photographs in four parts, with embeddings, below the working folder."""
    monkeypatch.chdir(tmp_path)
    words = ("--out", "table", "--labels", "cat,dog", "--embeddings", "--part-rows", "2")
    result = run("label", "photos", *words)
    assert result.exit_code == 0, result.output
    return Path("table")


@pytest.fixture
def table_with_errors(table: Path, run: Any) -> Path:
    """A table of seven photographs, of which one is damaged."""
    Path("photos/3.png").write_bytes(b"garbage")
    result = run("label", "photos", "--out", "damaged", "--labels", "cat,dog", "--embeddings")
    assert result.exit_code == 3, result.output
    return Path("damaged")


@pytest.fixture
def loaded(tiny: zeroshot.Model, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The name and the options that a command passes to `load`, which returns the tiny model."""
    given: dict[str, Any] = {}

    def load(name: str, **options: Any) -> zeroshot.Model:
        given.update(options, name=name)
        return tiny

    monkeypatch.setattr(zeroshot, "load", load)
    return given
