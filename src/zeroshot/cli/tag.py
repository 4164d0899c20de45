"""`zeroshot tag`: write labels as keywords into XMP sidecars."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.messages import escaped, is_quiet


@click.command("tag")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Labels that are less probable become no keywords.",
)
@click.option(
    "--most", type=click.IntRange(min=1), default=5, show_default=True, help="Keywords per image."
)
@click.option("--prefix", help="Parent of the keywords in hierarchies, such as AI or AI/2026.")
@click.option("--dry-run", is_flag=True, help="Only count what would be written.")
def command(
    folder: Path, min_probability: float, most: int, prefix: str | None, dry_run: bool
) -> None:
    """Write the labels of the table in FOLDER as keywords into XMP sidecars of the images.

    The images themselves are not changed. Sidecars are merged; keywords are never removed.
    """
    from zeroshot.bulk.tagging import tag

    found = tag(folder, min_probability=min_probability, most=most, prefix=prefix, dry_run=dry_run)
    if not is_quiet():
        click.echo(escaped(str(found)), err=True)
    for problem in found.problems:
        click.echo(escaped(f"Error: {problem.message}"), err=True)
    if found.errors:
        raise SystemExit(SOME_FAILED)
