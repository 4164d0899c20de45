"""Print messages of the package on stderr: warnings, more with -v, none with -q."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

FORMATTER = logging.Formatter()  # the message, and a traceback if there is one

log = logging.getLogger("zeroshot")


class _Echo(logging.Handler):
    """Print each message as it comes; warnings start with "Warning:"."""

    def emit(self, record: logging.LogRecord) -> None:
        start = "Warning: " if record.levelno >= logging.WARNING else ""
        click.echo(start + FORMATTER.format(record), err=True)


@contextmanager
def printed(verbose: int, quiet: bool) -> Iterator[None]:
    """Print messages in this block: `verbose` is 0 for warnings, 1 for steps, 2 for details."""
    if verbose and quiet:
        raise click.UsageError("expected either --verbose or --quiet, got both; omit one")
    if quiet:  # huggingface_hub reads it when it is imported
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    before, handler = log.level, _Echo()
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    log.setLevel(logging.ERROR if quiet else levels[min(verbose, 2)])
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def note(message: str) -> None:
    """Print a note, unless -q is given."""
    if log.isEnabledFor(logging.WARNING):
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
    if log.isEnabledFor(logging.WARNING):
        click.echo(f"Warning: {message}", err=True)
