"""Fixtures of the command-line tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import zeroshot
from zeroshot.cli import main


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
        if words[0] in ("classify", "encode", "evaluate") and "--model" not in words:
            words += ["--model", str(tiny_path)]
        return CliRunner().invoke(main, words, input=stdin)

    return run
