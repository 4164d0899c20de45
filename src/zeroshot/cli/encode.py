"""`zeroshot encode`: write embeddings of images or sentences to a .npy file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zeroshot.cli import sources
from zeroshot.cli.counts import counted
from zeroshot.cli.failures import CANNOT_WRITE, SOME_FAILED, fail
from zeroshot.cli.options import ModelChoice, model_options

if TYPE_CHECKING:
    import torch

    from zeroshot.model import Model


@click.command("encode")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@click.option("--text", is_flag=True, help="INPUTS are sentences, not images.")
@click.option(
    "--truncate", is_flag=True, help="Truncate sentences that are too long for the model."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The .npy file to write. The input of each row is listed in OUT.npy.txt.",
)
@click.option("--force", is_flag=True, help="Replace existing output files.")
@model_options
def command(
    inputs: tuple[str, ...],
    text: bool,
    truncate: bool,
    out: Path,
    force: bool,
    choice: ModelChoice,
) -> None:
    """Compute L2-normalized embeddings and save them as .npy.

    The array is float32 [n, d], one row per input. INPUTS are image files, folders (searched
    recursively), URLs or patterns, or with --text sentences. Use - to read them from standard
    input, one per line. An image that cannot be read has no row.
    """
    if out.suffix != ".npy":
        raise click.UsageError(f"expected an --out file that ends in .npy, got {str(out)!r}")
    if not out.parent.is_dir():
        fail(f"{out.parent}: no such folder; create it first", CANNOT_WRITE)

    from zeroshot.labeling.sinks import names_beside, save_embeddings

    for path in (out, names_beside(out)):
        if path.exists() and not force:
            raise click.UsageError(f"{path} exists; use --force to replace it")
    model = choice.load()
    embeddings: torch.Tensor | None
    failed = 0
    if text:
        rows, embeddings = _encode_sentences(model, inputs, truncate)
    else:
        rows, embeddings, failed = _encode_images(model, inputs)
    if embeddings is None:
        click.echo(f"no image could be read; {out} was not written", err=True)
        raise SystemExit(SOME_FAILED)
    save_embeddings(out, embeddings.cpu().numpy(), rows)
    click.echo(
        f"{out}: {counted(len(rows), 'embedding')} of dimension {model.embed_dim}; inputs of the "
        f"rows: {names_beside(out)}",
        err=True,
    )
    if failed:
        total = counted(failed + len(rows), "image")
        click.echo(f"{failed} of {total} could not be read", err=True)
        raise SystemExit(SOME_FAILED)


def _encode_sentences(
    model: Model, inputs: tuple[str, ...], truncate: bool
) -> tuple[list[str], torch.Tensor]:
    """Return the sentences and their embeddings [n, d]."""
    rows = list(sources.sentences(inputs))
    if not rows:
        raise click.UsageError("no sentences found on standard input; expected one per line")
    return rows, model.encode_text(rows, truncate=truncate)


def _encode_images(
    model: Model, inputs: tuple[str, ...]
) -> tuple[list[str], torch.Tensor | None, int]:
    """Return the images read, their embeddings [n, d] or None, and how many images failed.

    The error of each failed image is printed.
    """
    import torch

    from zeroshot.embedding import embed
    from zeroshot.predictions import Failure

    rows: list[str] = []
    parts: list[torch.Tensor] = []
    failed = 0
    for batch in embed(model, sources.images(inputs), on_error="yield"):
        for outcome in batch.outcomes:
            if isinstance(outcome, Failure):
                failed += 1
                click.echo(f"Error: {outcome.error}", err=True)
            else:
                rows.append(str(outcome))
        if batch.rows is not None:
            parts.append(batch.rows)
    if not failed and not parts:
        raise click.UsageError(f"no images found in {', '.join(inputs)}")
    return rows, torch.cat(parts) if parts else None, failed
