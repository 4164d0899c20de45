"""The option --root of commands that use the image files of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

root_option = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder where relative paths of the table start; by default the one in which the images "
    "were labeled, or the working folder if that does not exist.",
)


def report_missing(skipped: Mapping[str, int], root: Path | None) -> bool:
    """Return whether images of a table were not found, and print what to do."""
    missing = skipped.get("file not found", 0)
    if missing:
        advice = (
            "check --root, the folder where the paths of the table start"
            if root is not None
            else "run it in the folder where the images were labeled, or pass --root"
        )
        click.echo(f"Error: file not found: {missing:,}; {advice}", err=True)
    return missing > 0
