"""Count results, and report what failed or was skipped on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from zeroshot.cli.counts import counted
from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.messages import escaped
from zeroshot.errors import shortened

if TYPE_CHECKING:
    from zeroshot.labeling.sources import Skipped


class Outcomes:
    """Counts results and prints failures on standard error."""

    def __init__(self) -> None:
        self.done = self.failed = 0

    def count(self, result: object) -> None:
        """Count one result; a Failure is printed."""
        from zeroshot.predictions import Failure

        self.done += 1
        if isinstance(result, Failure):
            self.failed += 1
            print_above(escaped(f"Error: {result.error}"))


def print_above(text: str) -> None:
    """Print a line on standard error, above a progress bar if one is drawn."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        click.echo(text, err=True)
    else:
        tqdm.tqdm.write(text, file=sys.stderr)


def no_images(arguments: Sequence[str], skipped: Skipped) -> click.UsageError:
    """Return the error for arguments without any image."""
    where, expected = ", ".join(arguments), "image files, folders, URLs or patterns"
    if tuple(arguments) == ("-",):
        where, expected = "standard input", "an image, or image paths, one per line"
    found = f"; {skipped}" if skipped else ""
    return click.UsageError(
        f"no images found in {shortened(where, 200)}; expected {expected}{shortened(found, 250)}"
    )


def report(outcomes: Outcomes, skipped: Skipped, *, quiet: bool, strict: bool) -> None:
    """Print how many images failed and what was skipped; exit with 3 if that is an error."""
    if skipped and not (quiet and not strict):
        click.echo(escaped(str(skipped)), err=True)
    if outcomes.failed:
        total = counted(outcomes.done, "image")
        click.echo(f"{outcomes.failed} of {total} could not be read", err=True)
    if outcomes.failed or (strict and skipped):
        raise SystemExit(SOME_FAILED)
