"""`zeroshot classify`: classify images with labels or a saved head."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from zeroshot.cli import sources
from zeroshot.cli.answers import (
    AnswerChoice,
    answer_options,
    check_answers,
    note_promise,
    set_option,
)
from zeroshot.cli.failures import CANNOT_WRITE, fail
from zeroshot.cli.heads import choose_model, head_options, reject_with_head, write_head
from zeroshot.cli.messages import is_quiet
from zeroshot.cli.options import ModelChoice, images_argument, model_options, source_options
from zeroshot.cli.outcomes import Outcomes, no_images, report
from zeroshot.cli.outputs import check_output
from zeroshot.errors import shortened
from zeroshot.files import write_atomically
from zeroshot.labeling.sources import Skipped

if TYPE_CHECKING:
    from zeroshot.classifier import Classifier
    from zeroshot.images import ImageLike
    from zeroshot.predictions import Failure, LabelSet, Prediction

    Result = Prediction | LabelSet | Failure

FORMS = {".csv": "csv", ".jsonl": "json", ".ndjson": "json"}  # suffix of --output -> form


@click.command("classify")
@images_argument
@head_options(
    "Labels such as 'dog,cat', a label set such as imagenet, a file, or - for standard input. "
    "Can be repeated. Put a label with a comma in double quotes. Text files have one label per "
    "line, # starts a comment and \\# a label; .csv, .json and .yaml files are read as such.",
    "the templates of the label set, or photo.",
)
@click.option("-t", "--top", default=5, show_default=True, help="Number of labels shown per image.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row per label shown.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the results to this .csv or .jsonl file, when all images are done.",
)
@click.option("--force", is_flag=True, help="Replace an existing --output file.")
@click.option(
    "--save-head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the text embeddings of the labels as a head. Only an existing head is replaced.",
)
@set_option
@answer_options()
@source_options
@model_options
def command(
    images: tuple[str, ...],
    labels: tuple[str, ...],
    allow_equal: bool,
    head: str | None,
    prompts: str | None,
    top: int,
    answers: AnswerChoice,
    coverage: float | None,
    as_json: bool,
    as_csv: bool,
    output: Path | None,
    force: bool,
    save_head: Path | None,
    strict: bool,
    null: bool,
    choice: ModelChoice,
) -> None:
    """Classify images with your own labels.

    IMAGES are files, folders (searched recursively), URLs or patterns. Use - to read one image, or
    paths, from standard input.
    """
    _check_images(images, labels, null=null)
    _check_labels(labels, head, prompts)
    check_answers(answers, head, coverage=coverage)
    form = _choose_form(output, as_json=as_json, as_csv=as_csv, force=force)
    check_output("--output", output, [*images, *labels, head, prompts, save_head, choice.lock])
    if top < 1:
        raise click.UsageError(f"expected --top of at least 1, got {top}")
    build = _prepare(labels, head, prompts, answers, choice, allow_equal=allow_equal)

    from zeroshot.progress import Bar, length, track

    skipped, outcomes = Skipped(), Outcomes()
    results: Iterable[Result] = sources.missing(images)
    if not results:  # there is something to classify, so the model is needed
        classifier = build()
        if save_head is not None:
            write_head(classifier.head, save_head)
        shares_terminal = output is None and sys.stdout.isatty()
        progress = False if is_quiet() or shares_terminal else None
        found = sources.images(images, skipped, null=null, listed=progress is None)
        bar = Bar("images", length(found), progress)
        results = track(_results(classifier, found, top, coverage), bar, lambda _: 1)
    with _open_sink(form, output) as write:
        for result in results:
            outcomes.count(result)
            write(result)
        if not outcomes.done:
            raise no_images(images, skipped)
    report(outcomes, skipped, quiet=is_quiet(), strict=strict)


def _prepare(
    labels: tuple[str, ...],
    head: str | None,
    prompts: str | None,
    answers: AnswerChoice,
    choice: ModelChoice,
    *,
    allow_equal: bool,
) -> Callable[[], Classifier]:
    """Read the labels and prompts, or the head; return a function that loads the model."""
    label_set = sources.labels(labels) if labels else None
    if prompts is None:
        prompts = (labels and sources.label_set(labels)) or "photo"

    import zeroshot

    prompt_set = zeroshot.prompts.get(prompts)
    chosen = zeroshot.Head.load(head) if head is not None else label_set
    assert chosen is not None
    if isinstance(chosen, zeroshot.Head):
        choice = choose_model(chosen, head, choice)

    def build() -> Classifier:
        classifier = choice.load().classifier(
            chosen,
            prompt_set,
            allow_equal=allow_equal,
            none_of_these=answers.none_of_these,
            progress=False if is_quiet() else None,
        )
        return answers.apply(classifier)

    return build


def _results(
    classifier: Classifier, images: Iterable[ImageLike], top: int, coverage: float | None
) -> Iterator[Result]:
    """Return predictions, or sets of labels; print once what the sets promise."""
    if coverage is None:
        return classifier.stream(images, top=top, on_error="yield")
    return note_promise(classifier.stream_sets(images, coverage=coverage, on_error="yield"))


def _check_images(images: tuple[str, ...], labels: tuple[str, ...], *, null: bool) -> None:
    """Reject image arguments that were meant as something else."""
    for path in images:
        if path.lower().endswith((".csv", ".json", ".jsonl")) and not os.path.exists(path):
            raise click.UsageError(
                f"expected images, got {shortened(path)!r}, which does not exist; to write the "
                f"results to that file, use --output {shortened(path)}"
            )
    sources.check_images(images)
    if "-" in images and "-" in labels:
        raise click.UsageError(
            "expected images or labels on standard input, got - for both; use a label file"
        )
    if null and "-" not in images:
        raise click.UsageError("expected - among IMAGES with -0; add it, as in `classify -0 -`")


def _check_labels(labels: tuple[str, ...], head: str | None, prompts: str | None) -> None:
    """Reject labels or prompts together with a head, which contains both."""
    if not labels and head is None:
        raise click.UsageError("expected either --labels or --head; try --labels 'dog,cat'")
    reject_with_head(head, {"--labels": labels, "--prompts": prompts})


def _choose_form(output: Path | None, *, as_json: bool, as_csv: bool, force: bool) -> str:
    """Return how results are written: "table", "json" or "csv"."""
    if as_json and as_csv:
        raise click.UsageError("expected either --json or --csv, got both; omit one")
    asked = "json" if as_json else "csv" if as_csv else None
    if output is None:
        return asked or "table"
    form = FORMS.get(output.suffix.lower(), asked)
    if form is None or form != (asked or form):
        raise click.UsageError(
            f"expected an --output file that ends in .csv or .jsonl, got {str(output)!r}"
            f"{' with --' + asked if asked else ''}; rename it"
        )
    if not output.parent.is_dir():
        fail(f"{output.parent}: no such folder; create it first", CANNOT_WRITE)
    if output.exists() and not force:
        raise click.UsageError(f"{output} exists; use --force to replace it")
    return form


@contextmanager
def _open_sink(form: str, output: Path | None) -> Iterator[Callable[[Result], None]]:
    """Yield a function that writes a result; a file appears when the block succeeds."""
    from zeroshot.labeling.sinks import Csv, JsonLines

    kind = JsonLines if form == "json" else Csv
    if output is None:
        yield _table(sys.stdout) if form == "table" else kind(sys.stdout).write
        return
    with (
        write_atomically(output) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield kind(stream).write


def _table(stream: TextIO) -> Callable[[Result], None]:
    """Return a function that prints a table per image; it skips failures."""
    from zeroshot.labeling.sinks import can_encode
    from zeroshot.predictions import Failure, Prediction, table

    blocks = "█" if can_encode("█", stream) else "#"

    def write(result: Result) -> None:
        if not isinstance(result, Failure):
            block = blocks if stream.isatty() else None
            click.echo(table(result, block) if isinstance(result, Prediction) else result)
            click.echo()

    return write
