"""`zeroshot encode`: write embeddings of images or sentences to a .npy file."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli import sources
from zeroshot.cli.counts import counted
from zeroshot.cli.failures import CANNOT_WRITE, SOME_FAILED, fail
from zeroshot.cli.options import ModelChoice, model_options


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

    import torch

    from zeroshot.embedding import embed
    from zeroshot.labeling.sinks import names_beside, save_embeddings
    from zeroshot.predictions import Failure

    for path in (out, names_beside(out)):
        if path.exists() and not force:
            raise click.UsageError(f"{path} exists; use --force to replace it")
    loaded = choice.load()
    failed = 0
    rows: list[str] = []
    if text:
        rows = list(sources.sentences(inputs))
        if not rows:
            raise click.UsageError("no sentences found on standard input; expected one per line")
        embeddings = loaded.encode_text(rows, truncate=truncate)
    else:
        parts = []
        for batch in embed(loaded, sources.images(inputs), on_error="yield"):
            for outcome in batch.outcomes:
                if isinstance(outcome, Failure):
                    failed += 1
                    click.echo(f"Error: {outcome.error}", err=True)
                else:
                    rows.append(str(outcome))
            if batch.rows is not None:
                parts.append(batch.rows)
        if failed and not parts:
            click.echo(f"no image could be read; {out} was not written", err=True)
            raise SystemExit(SOME_FAILED)
        if not parts:
            raise click.UsageError(f"no images found in {', '.join(inputs)}")
        embeddings = torch.cat(parts)
    save_embeddings(out, embeddings.cpu().numpy(), rows)
    click.echo(
        f"{out}: {counted(len(rows), 'embedding')} of dimension {loaded.embed_dim}; inputs of the "
        f"rows: {names_beside(out)}",
        err=True,
    )
    if failed:
        total = counted(failed + len(rows), "image")
        click.echo(f"{failed} of {total} could not be read", err=True)
        raise SystemExit(SOME_FAILED)
