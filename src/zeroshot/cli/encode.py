"""`zeroshot encode`: write embeddings of images or sentences to a .npy file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zeroshot.cli import sources
from zeroshot.cli.completion import complete_files
from zeroshot.cli.counts import counted
from zeroshot.cli.failures import CANNOT_WRITE, SOME_FAILED, fail
from zeroshot.cli.messages import is_quiet
from zeroshot.cli.options import ModelChoice, model_options, source_options
from zeroshot.cli.outcomes import Outcomes, no_images, report
from zeroshot.cli.outputs import check_output
from zeroshot.labeling.sources import Skipped

if TYPE_CHECKING:
    import torch

    from zeroshot.images import Sample
    from zeroshot.model import Model
    from zeroshot.progress import Show


@click.command("encode")
@click.argument(
    "inputs", nargs=-1, required=True, metavar="INPUTS...", shell_complete=complete_files
)
@click.option("--text", is_flag=True, help="INPUTS are sentences, not images.")
@click.option(
    "--truncate", is_flag=True, help="Truncate sentences that are too long for the model."
)
@click.option(
    "-o",
    "--output",
    "--out",
    "out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The .npy file to write. The input of each row is listed in OUT.npy.txt.",
)
@click.option("--force", is_flag=True, help="Replace existing output files.")
@source_options
@model_options
def command(
    inputs: tuple[str, ...],
    text: bool,
    truncate: bool,
    out: Path,
    force: bool,
    strict: bool,
    null: bool,
    choice: ModelChoice,
) -> None:
    """Compute L2-normalized embeddings and save them as .npy.

    The array is float32 [n, d], one row per input. INPUTS are image files, folders (searched
    recursively), URLs or patterns, or with --text sentences. Use - to read one image, or paths or
    sentences, one per line, from standard input. An image that cannot be read has no row.
    """
    if out.suffix != ".npy":
        raise click.UsageError(f"expected an --output file that ends in .npy, got {str(out)!r}")
    if null and (text or "-" not in inputs):
        raise click.UsageError("expected - among the images with -0; add it, as in `encode -0 -`")
    if not out.parent.is_dir():
        fail(f"{out.parent}: no such folder; create it first", CANNOT_WRITE)

    from zeroshot.labeling.sinks import names_beside, save_embeddings

    for path in (out, names_beside(out)):
        if path.exists() and not force:
            raise click.UsageError(f"{path} exists; use --force to replace it")
        check_output("--output", path, [*inputs, choice.lock])
    skipped = Skipped()
    outcomes, progress = Outcomes(), False if is_quiet() else None
    if not text:
        sources.check_images(inputs)
        _check_existing(inputs, outcomes, out)
    model = choice.load()
    embeddings: torch.Tensor | None
    if text:
        rows, embeddings = _encode_sentences(model, inputs, truncate, progress)
    else:
        found = sources.images(inputs, skipped, null=null, listed=progress is None)
        rows, embeddings = _encode_images(model, found, outcomes, progress)
    if embeddings is None:
        if not outcomes.failed:
            raise no_images(inputs, skipped)
        raise _no_image_read(out)
    save_embeddings(out, embeddings.cpu().numpy(), rows)
    click.echo(
        f"{out}: {counted(len(rows), 'embedding')} of dimension {model.embed_dim}; inputs of the "
        f"rows: {names_beside(out)}",
        err=True,
    )
    report(outcomes, skipped, quiet=is_quiet(), strict=strict)


def _check_existing(inputs: tuple[str, ...], outcomes: Outcomes, out: Path) -> None:
    """Exit before the model is loaded if no input exists."""
    failures = sources.missing(inputs)
    for failure in failures:
        outcomes.count(failure)
    if failures:
        if not any(character in text for text in inputs for character in "./\\"):
            click.echo("to encode sentences, use --text", err=True)
        raise _no_image_read(out)


def _no_image_read(out: Path) -> SystemExit:
    click.echo(f"no image could be read; {out} was not written", err=True)
    return SystemExit(SOME_FAILED)


def _encode_sentences(
    model: Model, inputs: tuple[str, ...], truncate: bool, progress: Show
) -> tuple[list[str], torch.Tensor]:
    """Return the sentences and their embeddings [n, d]."""
    rows = list(sources.sentences(inputs))
    if not rows:
        raise click.UsageError("no sentences found on standard input; expected one per line")
    return rows, model.encode_text(rows, truncate=truncate, progress=progress)


def _encode_images(
    model: Model, found: Iterable[str | Sample], outcomes: Outcomes, progress: Show
) -> tuple[list[str], torch.Tensor | None]:
    """Return the images read and their embeddings [n, d], or None if there are none."""
    import torch

    from zeroshot.embedding import embed
    from zeroshot.predictions import Failure

    rows: list[str] = []
    parts: list[torch.Tensor] = []
    for batch in embed(model, found, on_error="yield", progress=progress):
        for outcome in batch.outcomes:
            outcomes.count(outcome)
            if not isinstance(outcome, Failure):
                rows.append(str(outcome))
        if batch.rows is not None:
            parts.append(batch.rows)
    return rows, torch.cat(parts) if parts else None
