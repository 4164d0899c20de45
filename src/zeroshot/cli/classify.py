"""`zeroshot classify`: images and labels in, a ranking a image out."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from zeroshot.cli import sources
from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.options import ModelChoice, images_argument, model_options

if TYPE_CHECKING:
    from zeroshot.predictions import Failure, Prediction

Writer = Callable[["Prediction | Failure"], None]


@click.command()
@images_argument
@click.option("-l", "--labels", help="'a dog,a cat', a file of labels, or a set such as imagenet.")
@click.option("--head", type=click.Path(exists=True), help="A saved head, instead of labels.")
@click.option(
    "-p",
    "--prompts",
    help="A prompt set, file or template; a label set's own templates by default, else photo.",
)
@click.option("-t", "--top", default=5, show_default=True, help="Labels shown for each image.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row for each label shown.")
@click.option("--save-head", type=click.Path(dir_okay=False), help="Keep the labels' head here.")
@model_options
def classify(
    images: tuple[str, ...],
    labels: str | None,
    head: str | None,
    prompts: str | None,
    top: int,
    as_json: bool,
    as_csv: bool,
    save_head: str | None,
    choice: ModelChoice,
) -> None:
    """Say which of the labels each image shows.

    IMAGES are files, folders (with what is in their subfolders), URLs or patterns; - reads paths
    from standard input.
    """
    if (labels is None) == (head is None):
        raise click.UsageError("give either --labels or --head, as in --labels 'a dog,a cat'")
    label_set = None if labels is None else sources.labels(labels)
    if as_json and as_csv:
        raise click.UsageError("give either --json or --csv")
    if prompts is None:
        prompts = (labels and sources.label_set(labels)) or "photo"
    if top < 1:
        raise click.UsageError(f"--top {top} must be at least 1")

    import zeroshot
    from zeroshot.predictions import Failure

    loaded = choice.load()
    chosen = zeroshot.Head.load(head) if head is not None else label_set
    assert chosen is not None
    classifier = loaded.classifier(chosen, prompts)
    if save_head is not None:
        classifier.head.save(save_head)
    write = _write_json if as_json else _csv_writer() if as_csv else _table_writer()
    failed = count = 0
    for result in classifier.stream(sources.images(images), top=top, on_error="yield"):
        write(result)
        count += 1
        if isinstance(result, Failure):
            failed += 1
            click.echo(f"Error: {result.error}", err=True)
    if not count:
        where = "standard input" if images == ("-",) else ", ".join(images)
        raise click.UsageError(f"no images in {where}")
    if failed:
        click.echo(f"{failed} of {count} images could not be read", err=True)
        raise SystemExit(SOME_FAILED)


def _write_json(result: Prediction | Failure) -> None:
    line = json.dumps(result.to_dict(), ensure_ascii=False)
    click.echo(line if _can_print(line) else json.dumps(result.to_dict()))


def _csv_writer() -> Writer:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["source", "rank", "label", "probability", "error"])

    def write(result: Prediction | Failure) -> None:
        facts = result.to_dict()
        for rank, entry in enumerate(facts.get("ranking", ()), 1):
            probability = f"{entry['probability']:.6f}"
            rows.writerow([result.source, rank, entry["label"], probability, ""])
        if "error" in facts:
            rows.writerow([result.source, "", "", "", facts["error"]])

    return write


def _table_writer() -> Writer:
    from zeroshot.predictions import Failure, table

    blocks = "█" if _can_print("█") else "#"

    def write(result: Prediction | Failure) -> None:
        if not isinstance(result, Failure):
            click.echo(table(result, blocks if sys.stdout.isatty() else None))
            click.echo()

    return write


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
