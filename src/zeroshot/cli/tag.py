"""`zeroshot tag`: write labels as keywords into XMP sidecars."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.messages import escaped, is_quiet
from zeroshot.cli.option_names import named_options
from zeroshot.cli.roots import report_missing, root_option


@click.command("tag")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Labels that are less probable become no keywords.",
)
@click.option(
    "--max-keywords",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Keywords per image, at most.",
)
@click.option("--prefix", help="Parent of the keywords in hierarchies, such as AI or AI/2026.")
@root_option
@click.option("--dry-run", is_flag=True, help="Only count what would be written.")
@named_options()
def command(
    folder: Path,
    min_probability: float,
    max_keywords: int,
    prefix: str | None,
    root: Path | None,
    dry_run: bool,
) -> None:
    """Write labels of a table as keywords into sidecars.

    Every image of the table in FOLDER gets its labels as keywords in an XMP sidecar.

    The images themselves are not changed. Sidecars are merged; keywords are never removed.
    """
    from zeroshot.bulk.tagging import tag

    found = tag(
        folder,
        min_probability=min_probability,
        max_keywords=max_keywords,
        prefix=prefix,
        root=root,
        dry_run=dry_run,
    )
    if not is_quiet():
        click.echo(escaped(str(found)), err=True)
    for problem in found.problems:
        click.echo(escaped(f"Error: {problem.source}: {problem.message}"), err=True)
    if report_missing(found.skipped, root) or found.errors:
        raise SystemExit(SOME_FAILED)
