"""`zeroshot lint`: find problems of labels and prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from zeroshot.cli import sources
from zeroshot.cli.completion import complete_labels, complete_models, complete_prompts
from zeroshot.cli.counts import counted
from zeroshot.cli.messages import escaped, is_quiet

if TYPE_CHECKING:
    from zeroshot.linting import Problem

ERROR_FOUND = 1  # exit code
SHOWN = 10  # problems of one kind that are printed
LEVELS = ("error", "warning", "note")


@click.command("lint", short_help="Find problems of labels and prompts.")
@click.argument("labels", shell_complete=complete_labels)
@click.option(
    "-p",
    "--prompts",
    shell_complete=complete_prompts,
    help="A prompt set, file or template. Default: the templates of the label set, or photo.",
)
@click.option(
    "-m",
    "--model",
    shell_complete=complete_models,
    help="Also find similar labels with this model: a name from `zeroshot models`, a Hub "
    "repository, or a path. Default: rules about text only.",
)
@click.option(
    "--images",
    metavar="FOLDER|TABLE",
    help="Also check the answers for images with known labels: a folder with a folder per label, a "
    "table or shards, as for `zeroshot evaluate`. Requires --model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    labels: str, prompts: str | None, model: str | None, images: str | None, as_json: bool
) -> None:
    """Find problems of labels and prompts; exit with 1 if there is an error.

    LABELS is a label file, labels such as 'dog,cat', a label set such as imagenet, or - for
    standard input. Errors are labels that cannot work, such as equal ones. Warnings are probable
    mistakes. Notes are things to check.
    """
    if images is not None and model is None:
        raise click.UsageError("expected --model with --images; add a model, such as mini")
    import zeroshot

    given = sources.unchecked_labels(labels)
    chosen = prompts or sources.label_set([labels]) or "photo"
    known = {} if images is None else _read_images(images, given)
    loaded = None if model is None else zeroshot.load(model)
    progress = False if is_quiet() else None
    problems = zeroshot.lint(given, chosen, model=loaded, progress=progress, **known)
    failed = any(problem.level == "error" for problem in problems)
    if as_json:
        report = {"ok": not failed, "problems": [asdict(problem) for problem in problems]}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(problems)
    if failed:
        raise SystemExit(ERROR_FOUND)


def _read_images(source: str, labels: Any) -> dict[str, Any]:
    """Return images and truth as arguments of `lint`; report files that were skipped."""
    from zeroshot.labeling import truth
    from zeroshot.linting.entries import read

    found = truth.read(source)
    if found.skipped and not is_quiet():
        click.echo(escaped(str(found.skipped)), err=True)
    entries, _ = read(labels)
    return {"images": found.images, "truth": found.named([entry.label for entry in entries])}


def _print(problems: Sequence[Problem]) -> None:
    """Print problems by level, and their numbers."""
    for level, of_level in groupby(problems, key=lambda problem: problem.level):
        click.echo(f"{level}s")
        for kind, of_kind in groupby(of_level, key=lambda problem: problem.kind):
            listed = list(of_kind)
            for problem in listed[:SHOWN]:
                message = problem.message.replace("\n", "\n      ")
                click.echo(f"  {kind}: {message}\n      {problem.suggestion}")
            if len(listed) > SHOWN:
                click.echo(f"  {kind}: {len(listed) - SHOWN} more; --json prints all")
        click.echo()
    levels = [problem.level for problem in problems]
    found = [counted(levels.count(level), level) for level in LEVELS if level in levels]
    click.echo(", ".join(found) if found else "no problems found")
