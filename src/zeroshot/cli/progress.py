"""Show progress on standard error, and report what failed or was skipped."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zeroshot.cli.counts import counted
from zeroshot.cli.failures import SOME_FAILED
from zeroshot.errors import shortened

if TYPE_CHECKING:
    from zeroshot.labeling.sources import Skipped
    from zeroshot.predictions import Failure

DELAY = 2.0  # seconds before a progress bar appears


class Progress:
    """Counts results; a bar appears on a terminal after DELAY seconds.

    The bar is not shown if results are printed to the same terminal.
    """

    def __init__(self, unit: str, *, quiet: bool, prints: bool = False) -> None:
        self.unit, self.done, self.failed = unit, 0, 0
        self._shown = sys.stderr.isatty() and not quiet and not prints
        self._start = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def count(self, result: object) -> None:
        """Count one result; a Failure is printed."""
        from zeroshot.predictions import Failure

        self.done += 1
        if isinstance(result, Failure):
            self._report(result)
        if self._bar is not None:
            self._bar.update()
        elif self._shown and time.monotonic() - self._start > DELAY:
            from tqdm import tqdm  # type: ignore[import-untyped]

            self._bar = tqdm(initial=self.done, unit=f" {self.unit}", file=sys.stderr)

    def _report(self, failure: Failure) -> None:
        self.failed += 1
        if self._bar is not None:
            self._bar.clear()
        click.echo(f"Error: {failure.error}", err=True)


def no_images(arguments: Sequence[str], skipped: Skipped) -> click.UsageError:
    """Return the error for arguments without any image."""
    where, expected = ", ".join(arguments), "image files, folders, URLs or patterns"
    if tuple(arguments) == ("-",):
        where, expected = "standard input", "an image, or image paths, one per line"
    found = f"; {skipped}" if skipped else ""
    return click.UsageError(
        f"no images found in {shortened(where, 200)}; expected {expected}{shortened(found, 250)}"
    )


def report(progress: Progress, skipped: Skipped, *, quiet: bool, strict: bool) -> None:
    """Print how many images failed and what was skipped; exit with 3 if that is an error."""
    if skipped and not (quiet and not strict):
        click.echo(str(skipped), err=True)
    if progress.failed:
        total = counted(progress.done, "image")
        click.echo(f"{progress.failed} of {total} could not be read", err=True)
    if progress.failed or (strict and skipped):
        raise SystemExit(SOME_FAILED)
