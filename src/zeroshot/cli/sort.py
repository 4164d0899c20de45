"""`zeroshot sort`: sort labeled images into folders, or undo it."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from zeroshot.cli.counts import counted
from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.messages import escaped
from zeroshot.cli.option_names import named_options
from zeroshot.cli.questions import confirm
from zeroshot.cli.roots import report_missing, root_option
from zeroshot.errors import shortened


@click.command("sort")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the folders of the labels.",
)
@click.option("--link", is_flag=True, help="Make links. The default.")
@click.option("--copy", is_flag=True, help="Copy the files.")
@click.option("--move", is_flag=True, help="Move the files.")
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Images whose label is less probable go into --unknown.",
)
@click.option("--unknown", default="unsorted", show_default=True, help="Name of that folder.")
@click.option("--skip-unknown", is_flag=True, help="Leave these images where they are.")
@root_option
@click.option("--dry-run", is_flag=True, help="Only print the plan. Not for --undo.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before files are moved.")
@click.option("--undo", is_flag=True, help="Undo everything that was sorted into --into.")
@named_options()
def command(
    folder: Path | None,
    into: Path,
    link: bool,
    copy: bool,
    move: bool,
    min_probability: float,
    unknown: str,
    skip_unknown: bool,
    root: Path | None,
    dry_run: bool,
    yes: bool,
    undo: bool,
) -> None:
    """Sort labeled images into one folder per label.

    The plan is printed first: the files to place. Existing files are never overwritten, and
    `zeroshot sort --undo --into FOLDER` takes everything back.
    """
    mode = _choose_mode(link=link, copy=copy, move=move)
    if undo and dry_run:
        raise click.UsageError(
            "expected either --undo or --dry-run, got both; _sort-undo.jsonl in --into lists what "
            "--undo takes back"
        )

    from zeroshot.bulk import sorting

    name = shortened(str(into), 200)

    if undo:
        done = sorting.undo_sort(into)
        click.echo(escaped(f"{name}: {counted(done.restored, 'file')} restored"), err=True)
        for source, reason in done.kept:
            click.echo(escaped(f"left as it is: {source}: {reason}"), err=True)
        if done.kept:
            raise SystemExit(SOME_FAILED)
        return
    if folder is None:
        raise click.UsageError("expected the folder of a table, as in: sort pets --into sorted")
    plan = sorting.plan_sort(
        folder,
        into,
        mode=mode,  # type: ignore[arg-type]
        min_probability=min_probability,
        unknown=None if skip_unknown else unknown,
        root=root,
    )
    click.echo(escaped(str(plan)), err=True)
    is_missing = report_missing(plan.skipped, root)
    if dry_run or not plan.actions:
        raise SystemExit(SOME_FAILED if is_missing else 0)
    if mode == "move" and not yes:
        confirm(f"Move {counted(len(plan.actions), 'file')}?")
    result = sorting.apply_sort(plan)
    click.echo(escaped(f"{name}: {counted(result.placed, 'image')} sorted"), err=True)
    if result.placed:
        quoted = shlex.quote(name) if name == str(into) else "FOLDER"
        click.echo(escaped(f"to undo: zeroshot sort --undo --into {quoted}"), err=True)
    for source, reason in result.failures:
        click.echo(escaped(f"Error: {source}: {reason}"), err=True)
    if result.failed or is_missing:
        raise SystemExit(SOME_FAILED)


def _choose_mode(**given: bool) -> str:
    """Return how files are placed: link, copy or move."""
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise click.UsageError(
            f"expected one of --link, --copy and --move, got --{' and --'.join(chosen)}; omit one"
        )
    return chosen[0] if chosen else "link"
