"""Print messages of the package on stderr: warnings, more with -v, none with -q."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

import click

FORMATTER = logging.Formatter()  # the message, and a traceback if there is one

LEVELS = "zeroshot.levels"  # key of the levels in click's context.meta
Command = TypeVar("Command", bound=Callable[..., Any])

log = logging.getLogger("zeroshot")


class _Echo(logging.Handler):
    """Print each message as it comes; warnings start with "Warning:"."""

    def emit(self, record: logging.LogRecord) -> None:
        start = "Warning: " if record.levelno >= logging.WARNING else ""
        click.echo(start + FORMATTER.format(record), err=True)


@contextmanager
def printed(verbose: int, quiet: bool) -> Iterator[None]:
    """Print messages in this block: `verbose` is 0 for warnings, 1 for steps, 2 for details."""
    before, handler = log.level, _Echo()
    _set_level(verbose, bool(quiet))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _set_level(verbose: int, quiet: bool) -> None:
    if verbose and quiet:
        raise click.UsageError("expected either --verbose or --quiet, got both; omit one")
    if quiet:  # huggingface_hub reads it when it is imported
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    log.setLevel(logging.ERROR if quiet else levels[min(verbose, 2)])


def _count(context: click.Context, parameter: click.Parameter, value: int) -> None:
    """Add an option after the command to the same option before it."""
    levels = context.meta.setdefault(LEVELS, {"verbose": 0, "quiet": 0})
    levels[parameter.name] += int(value)
    if value and context.parent is not None:  # the group sets the level in `printed`
        _set_level(levels["verbose"], bool(levels["quiet"]))


def level_options(command: Command) -> Command:
    """Add -v and -q to a command; they mean the same before and after its name."""
    for option in (
        click.option(
            *("-q", "--quiet"),
            is_flag=True,
            expose_value=False,
            callback=_count,
            help="Print errors only: no progress, notes, warnings and skipped files.",
        ),
        click.option(
            *("-v", "--verbose"),
            count=True,
            expose_value=False,
            callback=_count,
            help="Print what is done; -vv prints details.",
        ),
    ):
        command = option(command)
    return command


def is_quiet() -> bool:
    """Return whether -q is given."""
    return not log.isEnabledFor(logging.WARNING)


def escaped(text: str) -> str:
    """Escape control characters, as in file names, which would act on the terminal."""
    if not (sys.stderr is not None and sys.stderr.isatty()):
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def note(message: str) -> None:
    """Print a note, unless -q is given."""
    if not is_quiet():
        click.echo(f"Note: {message}", err=True)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line without the source location, unless -q is given."""
    if not is_quiet():
        click.echo(f"Warning: {message}", err=True)
