"""-v and -q select the messages on stderr; mini is announced in a terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import zeroshot
from zeroshot.cli import main, messages

PHOTO = [str(zeroshot.sample_image()), "--labels", "cat,dog", "--model", "mini"]
MINI = "Note: mini is a demo model; results are only indicative\n"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the variable that -q sets."""
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")


def classify(*options: str, model: str = "mini", labels: str = "cat,dog") -> Result:
    words = ["classify", str(zeroshot.sample_image()), "--labels", labels, "--model", model]
    return CliRunner().invoke(main, [*options, *words])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stderr be a terminal in commands."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_one_line_that_mini_is_a_demo_model() -> None:
    assert classify().stderr == MINI
    assert classify("-q").stderr == ""


@pytest.mark.usefixtures("terminal")
def test_other_models_get_no_such_line(tiny_path: Any) -> None:
    assert "mini" not in classify(model=str(tiny_path)).stderr


def test_a_pipe_gets_no_such_line() -> None:
    assert classify().stderr == ""


def test_verbose_prints_steps_and_very_verbose_prints_tracebacks() -> None:
    shown = classify("-v").stderr
    assert "mini: loaded from " in shown
    assert "2 labels: 2 embedded" in shown

    failed = classify("-vv", model="./missing.pt")
    assert "Traceback (most recent call last)" in failed.stderr
    assert "Traceback" not in classify("-v", model="./missing.pt").stderr


@pytest.mark.usefixtures("terminal")
def test_levels_mean_the_same_before_and_after_the_command() -> None:
    for words in (["classify", "-q"], ["-q", "classify"]):
        result = CliRunner().invoke(main, [*words, *PHOTO])
        assert (result.exit_code, result.stderr) == (0, "")
    for words in (["classify", "-v"], ["-v", "classify"]):
        assert "mini: loaded from " in CliRunner().invoke(main, [*words, *PHOTO]).stderr
    for words in (["classify", "-v", "-q"], ["-q", "classify", "-v"]):
        result = CliRunner().invoke(main, [*words, *PHOTO])
        assert result.exit_code == 2
        assert "either --verbose or --quiet" in result.stderr


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_accepts_verbose_and_quiet(command: str) -> None:
    options = {name for each in main.commands[command].params for name in each.opts}

    assert options >= {"-v", "--verbose", "-q", "--quiet"}


@pytest.mark.filterwarnings("default")
def test_quiet_prints_errors_but_no_warnings(tmp_path: Path) -> None:
    one = tmp_path / "one.txt"
    one.write_text("cat\n")
    assert "Warning: the only label" in classify(labels=str(one)).stderr
    assert classify("-q", labels=str(one)).stderr == ""
    assert "no such file" in classify("-q", model="./missing.pt").stderr


def test_quiet_hides_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    with messages.printed(0, quiet=True):
        assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"


def test_verbose_and_quiet_exclude_each_other() -> None:
    result = classify("-v", "-q")
    assert result.exit_code == 2
    assert "either --verbose or --quiet" in result.stderr


def test_log_messages_are_printed_while_a_command_runs_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("zeroshot")
    before = (log.level, list(log.handlers))

    with messages.printed(0, quiet=False):
        log.warning("the %s is full", "cache")
        log.info("a step")

    assert capsys.readouterr().err == "Warning: the cache is full\n"
    assert (log.level, log.handlers) == before


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), messages.printed(0, quiet=False):
        warnings.simplefilter("always")
        warnings.showwarning = messages.show_warning
        warnings.warn("look out", stacklevel=1)

    assert capsys.readouterr().err == "Warning: look out\n"


def test_every_module_logs_to_the_same_logger() -> None:
    names = [name for name in logging.root.manager.loggerDict if name.startswith("zeroshot.")]
    # the server has a log of its own, as JSON and without what clients send
    assert set(names) <= {"zeroshot.serving"}
    assert "zeroshot" in sys.modules
    assert isinstance(main, click.Group)
