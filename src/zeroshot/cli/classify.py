"""`zeroshot classify`: classify images with labels or a saved head."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from zeroshot.cli import sources
from zeroshot.cli.counts import counted
from zeroshot.cli.failures import NO_MODEL, SOME_FAILED, fail
from zeroshot.cli.options import ModelChoice, images_argument, model_options
from zeroshot.errors import HeadMismatch, seen_from

if TYPE_CHECKING:
    from zeroshot.head import Head
    from zeroshot.predictions import Failure, Prediction


@click.command("classify")
@images_argument
@click.option(
    "-l",
    "--labels",
    help="Labels such as 'dog,cat', a label file, or a label set such as imagenet.",
)
@click.option("--head", type=click.Path(), help="A saved head, instead of --labels.")
@click.option(
    "-p",
    "--prompts",
    help="A prompt set, file or template. Default: the templates of the label set, or photo.",
)
@click.option("-t", "--top", default=5, show_default=True, help="Number of labels shown per image.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row per label shown.")
@click.option(
    "--save-head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the text embeddings of the labels as a head. Only an existing head is replaced.",
)
@model_options
def command(
    images: tuple[str, ...],
    labels: str | None,
    head: str | None,
    prompts: str | None,
    top: int,
    as_json: bool,
    as_csv: bool,
    save_head: Path | None,
    choice: ModelChoice,
) -> None:
    """Classify images with your own labels.

    IMAGES are files, folders (searched recursively), URLs or patterns. Use - to read paths from
    standard input.
    """
    if (labels is None) == (head is None):
        raise click.UsageError("expected either --labels or --head; try --labels 'dog,cat'")
    label_set = None if labels is None else sources.labels(labels)
    if as_json and as_csv:
        raise click.UsageError("expected either --json or --csv, got both; omit one")
    if prompts is None:
        prompts = (labels and sources.label_set(labels)) or "photo"
    if top < 1:
        raise click.UsageError(f"expected --top of at least 1, got {top}")
    if head is not None and not Path(head).exists():
        fail(f"{head}: no such file{seen_from(Path(head))}; check the path", NO_MODEL)

    import zeroshot
    from zeroshot.labeling.sinks import Csv, JsonLines
    from zeroshot.predictions import Failure

    loaded = choice.load()
    chosen = zeroshot.Head.load(head) if head is not None else label_set
    assert chosen is not None
    classifier = loaded.classifier(chosen, prompts)
    if save_head is not None:
        _save_head(classifier.head, save_head)
    write = _table(sys.stdout)
    if as_json or as_csv:
        write = (JsonLines if as_json else Csv)(sys.stdout).write
    failed = count = 0
    for result in classifier.stream(sources.images(images), top=top, on_error="yield"):
        write(result)
        count += 1
        if isinstance(result, Failure):
            failed += 1
            click.echo(f"Error: {result.error}", err=True)
    if not count:
        where = "standard input" if images == ("-",) else ", ".join(images)
        raise click.UsageError(
            f"no images found in {where}; expected image files, folders, URLs or patterns"
        )
    if failed:
        click.echo(f"{failed} of {counted(count, 'image')} could not be read", err=True)
        raise SystemExit(SOME_FAILED)


def _save_head(head: Head, path: Path) -> None:
    """Save a head; replace an existing file only if it is a head."""
    if path.exists():
        try:
            type(head).load(path)
        except HeadMismatch as error:
            raise click.UsageError(
                f"{path} exists and is not a head; use another file name for --save-head"
            ) from error
    head.save(path)


def _table(stream: TextIO) -> Callable[[Prediction | Failure], None]:
    """Return a function that prints a table per image; it skips failures."""
    from zeroshot.labeling.sinks import can_encode
    from zeroshot.predictions import Failure, table

    blocks = "█" if can_encode("█", stream) else "#"

    def write(result: Prediction | Failure) -> None:
        if not isinstance(result, Failure):
            click.echo(table(result, blocks if stream.isatty() else None))
            click.echo()

    return write
