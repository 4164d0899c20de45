"""`zeroshot label`: label a collection of images into a folder of tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zeroshot.cli import sources
from zeroshot.cli.answers import AnswerChoice, answer_options, check_answers
from zeroshot.cli.completion import complete_files, complete_kinds
from zeroshot.cli.counts import counted
from zeroshot.cli.failures import INTERRUPTED, SOME_FAILED, fail
from zeroshot.cli.heads import choose_model, head_options, reject_with_head
from zeroshot.cli.messages import escaped, is_quiet, note
from zeroshot.cli.option_names import named_options, with_options
from zeroshot.cli.options import ModelChoice, model_options
from zeroshot.cli.questions import confirm
from zeroshot.errors import shortened

if TYPE_CHECKING:
    from zeroshot.bulk.summary import Summary
    from zeroshot.classifier import Classifier

inputs_argument = click.argument(
    "inputs", nargs=-1, required=True, metavar="INPUTS...", shell_complete=complete_files
)


@click.command("label")
@inputs_argument
@click.option(
    "-o",
    "--out",
    "--output",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the table; `zeroshot merge` makes one file of it. Run the same command again "
    "to continue a run that was stopped.",
)
@head_options(
    "Labels such as 'dog,cat', a label set such as imagenet, or a file. Can be repeated.",
    "the templates of the label set, or photo.",
)
@click.option("-t", "--top", default=5, show_default=True, help="Number of labels per image.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv", "jsonl"]),
    help="Format of the parts; by default parquet if pyarrow is installed, else jsonl.",
)
@click.option(
    "--embeddings",
    is_flag=True,
    help="Store the embeddings as float16, for `zeroshot relabel` and `zeroshot find`. Requires "
    "pyarrow.",
)
@click.option(
    "--scores",
    type=click.Choice(["top", "all"]),
    default="top",
    show_default=True,
    help="all stores the probability of every label.",
)
@click.option("--column", help="Column of tables with the images, their paths or URLs.")
@click.option("--keep", metavar="A,B", help="Columns of tables to copy, separated by commas.")
@click.option("--fps", type=float, help="Frames of videos per second; by default 1.")
@click.option("--every", type=click.IntRange(min=1), help="Every N-th frame of videos.")
@click.option(
    "--part-rows",
    type=click.IntRange(min=1),
    help="Rows per part; by default 4096, on a GPU 32768.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Compute the I-th of N shares of the parts; auto reads the variables of Slurm.",
)
@click.option(
    "--retry-errors",
    metavar="[KIND,...]",
    is_flag=False,
    flag_value="default",
    shell_complete=complete_kinds,
    help="Compute rows with an error again; by default the kinds timeout, io, permission and "
    "not_found. Put the option last, or write --retry-errors=KIND.",
)
@click.option(
    "--max-errors",
    metavar="N|P%",
    help="Stop at more than N errors, or at more than P percent; exit with 3.",
)
@click.option("--dedupe", is_flag=True, help="Compute images with equal bytes once.")
@click.option("--limit", type=click.IntRange(min=1), help="Label only the first images.")
@click.option("--dry-run", is_flag=True, help="Only list the inputs and the size of the table.")
@click.option(
    "--force", is_flag=True, help="Delete the table of an earlier run in --out and start over."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --force deletes a table.")
@answer_options(without="keep")  # --keep names columns
@model_options
@named_options()
def command(
    inputs: tuple[str, ...],
    out: Path,
    labels: tuple[str, ...],
    allow_equal: bool,
    head: str | None,
    prompts: str | None,
    form: str | None,
    keep: str | None,
    retry_errors: str | None,
    yes: bool,
    answers: AnswerChoice,
    choice: ModelChoice,
    **options: Any,
) -> None:
    """Label a collection of images: one row of a table each.

    INPUTS are image files, folders (searched recursively), patterns, URLs, tables (.csv, .tsv,
    .jsonl, .parquet), archives (.zip, .tar, .tar.gz), videos, or - for paths from standard input.
    The table is a folder of part files. A run that was stopped or killed is continued by the same
    command. An image that cannot be read is a row with an error.
    """
    if not labels and head is None and not options["dry_run"]:
        raise click.UsageError("expected either --labels or --head; try --labels 'dog,cat'")
    reject_with_head(head, {"--labels": labels, "--prompts": prompts})
    check_answers(answers, head)
    if "-" in inputs and "-" in labels:
        raise click.UsageError("expected inputs or labels on standard input, got - for both")

    import zeroshot
    from zeroshot.bulk.options import choose_format
    from zeroshot.bulk.running import check_folder
    from zeroshot.bulk.stop import Interrupted

    # before a question is asked and the model is loaded
    choose_format(form, embeddings=options["embeddings"], scores=options["scores"])
    check_folder(out, force=options["force"])
    is_asked = options["force"] and not yes and not options["dry_run"]
    if is_asked and out.exists() and any(out.iterdir()):
        confirm(f"Delete the table in {out}?")
    given = options | {
        "format": form,
        "keep": [] if keep is None else [name.strip() for name in keep.split(",")],
        "retry_errors": _parse_kinds(retry_errors),
        "progress": False if is_quiet() else None,
    }
    if options["dry_run"]:
        # the labels are not used: nothing is loaded
        _print_plan(zeroshot.label(list(inputs), out, labels=["label"], **given).plan)
        return
    classifier = _build(labels, head, prompts, answers, choice, allow_equal=allow_equal)
    try:
        summary = zeroshot.label(list(inputs), out, classifier=classifier, **given)
    except Interrupted as stopped:
        fail(
            f"stopped; {counted(stopped.rows, 'row')} of unfinished parts will be computed again; "
            f"to continue, run the same command again",
            INTERRUPTED if stopped.signal == 2 else 128 + stopped.signal,
        )
    _report(summary, given["retry_errors"])


def _build(
    labels: tuple[str, ...],
    head: str | None,
    prompts: str | None,
    answers: AnswerChoice,
    choice: ModelChoice,
    *,
    allow_equal: bool,
) -> Classifier:
    """Read the labels and prompts, or the head, and load the model."""
    import zeroshot

    label_set = sources.labels(labels) if labels else None
    if prompts is None:
        prompts = (labels and sources.label_set(labels)) or "photo"
    chosen = zeroshot.Head.load(head) if head is not None else label_set
    assert chosen is not None
    if isinstance(chosen, zeroshot.Head):
        choice = choose_model(chosen, head, choice)
    classifier = choice.load().classifier(
        chosen,
        zeroshot.prompts.get(prompts),
        allow_equal=allow_equal,
        none_of_these=answers.none_of_these,
        progress=False if is_quiet() else None,
    )
    return answers.apply(classifier)


def _parse_kinds(given: str | None) -> bool | list[str]:
    """Return the kinds of errors to compute again; True for the default ones."""
    if given is None:
        return False
    return True if given == "default" else [kind.strip() for kind in given.split(",")]


def _print_plan(plan: Sequence[Mapping[str, Any]]) -> None:
    """Print what a run would read."""
    for each in plan:
        rows = each["rows"]
        images = (
            "unknown number of images" if rows is None else f"{rows:,} image{'s' * (rows != 1)}"
        )
        kind = "folder" if each["kind"] == "list" and os.path.isdir(each["name"]) else each["kind"]
        columns = f"; columns {', '.join(each['columns'])}" if each.get("columns") else ""
        size = f"; about {_show_size(each['bytes'])} of output" if each.get("bytes") else ""
        click.echo(escaped(f"{each['name']}: {kind}, {images}{size}{columns}"))


def _show_size(size: int) -> str:
    """Return a number of bytes in MB, or in kB if it is smaller than that."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _report(summary: Summary, retry: bool | list[str]) -> None:
    """Print what the run did; exit with 3 if the table has rows with errors, or is stopped."""
    if not is_quiet():
        is_done = summary.is_complete and not summary.computed
        speed = f", {summary.images_per_second:,.0f} images/s" if summary.computed else ""
        speed = ", already complete" if is_done else speed
        click.echo(escaped(f"{summary.out}: {counted(summary.rows, 'row')}{speed}"), err=True)
        if summary.skipped:
            listed = ", ".join(f"{count} {reason}" for reason, count in summary.skipped.items())
            click.echo(escaped(f"skipped in folders: {listed}"), err=True)
        if not summary.is_complete and summary.stopped is None:
            click.echo("parts of other shards are missing; `zeroshot status` lists them", err=True)
        if summary.new_files:
            note(
                f"{counted(summary.new_files, 'new file')} in the folders ignored, because the "
                "list of files is fixed when a run starts; label new files into another folder, or "
                "start over with --force"
            )
        if retry:
            _report_retry(summary, retry)
    if summary.errors:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in summary.errors.items())
        failed = sum(summary.errors.values())
        click.echo(f"{failed:,} of {counted(summary.rows, 'row')} have an error: {kinds}", err=True)
        if not is_quiet():
            _report_failed(summary, is_retry=bool(retry))
    if summary.stopped is not None:
        click.echo(escaped(f"stopped: {with_options(summary.stopped)}"), err=True)
    if summary.errors or summary.stopped is not None:
        raise SystemExit(SOME_FAILED)


def _report_retry(summary: Summary, retry: bool | list[str]) -> None:
    """Print how many rows were computed again, or which kinds of errors the table has."""
    if summary.retried:
        rows = counted(summary.retried, "row")
        click.echo(f"retried {rows} with an error: {summary.repaired:,} repaired", err=True)
        return
    from zeroshot.bulk.retrying import parse_kinds

    message = f"retried no rows: none has an error of the kinds {', '.join(parse_kinds(retry))}"
    if summary.errors:
        kinds = ",".join(summary.errors)
        message += f"; the table has others: repair the files, then pass --retry-errors={kinds}"
    click.echo(message, err=True)


def _report_failed(summary: Summary, *, is_retry: bool) -> None:
    """Print the first images with an error, and how to compute rows again that may pass."""
    from zeroshot.bulk.counting import find_failed
    from zeroshot.bulk.output import Output
    from zeroshot.bulk.retrying import PASSING

    names = [shortened(name, 150) for name in find_failed(Output.open(summary.out), 3)]
    click.echo(escaped(f"first: {', '.join(names)}"), err=True)
    kinds = [kind for kind in PASSING if kind in summary.errors]
    if kinds and not is_retry:
        advice = f"to compute the rows of {', '.join(kinds)} again, add --retry-errors"
        click.echo(f"{advice} to the same command", err=True)
