"""Reject an output file that the same command reads, or writes twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click


def check_output(option: str, target: Path | None, others: Iterable[str | Path | None]) -> None:
    """Raise UsageError if the target of an option is one of the other files of the command.

    The value - among the others is standard input. Values that are no paths are ignored.
    """
    for other in others:
        if target is not None and other is not None and _is_same(target, other):
            name = "standard input" if other == "-" else "another argument"
            raise click.UsageError(
                f"{target} is {option} and also {name}, and would be overwritten; use another "
                f"file for {option}"
            )


def _is_same(target: Path, other: str | Path) -> bool:
    try:
        if other == "-":
            return os.path.samestat(os.stat(target), os.fstat(sys.stdin.fileno()))
        name = os.fspath(other).removeprefix("@")
        if target.exists():
            return os.path.samefile(target, name)
        return os.path.realpath(target) == os.path.realpath(name)
    except (OSError, ValueError, AttributeError):  # text that is no path, or no standard input
        return False
