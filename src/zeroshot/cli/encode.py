"""`zeroshot encode`: embeddings of images or sentences to a .npy file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from zeroshot.cli import sources
from zeroshot.cli.failures import CANNOT_WRITE, SOME_FAILED, fail
from zeroshot.cli.options import ModelChoice, model_options


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@click.option("--text", is_flag=True, help="INPUTS are sentences, not images.")
@click.option("--truncate", is_flag=True, help="Cut sentences that are too long for the model.")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The .npy file to write; what each row is goes into a .txt file beside it.",
)
@model_options
def encode(
    inputs: tuple[str, ...],
    text: bool,
    truncate: bool,
    out: Path,
    choice: ModelChoice,
) -> None:
    """Write unit embeddings, float32 [n, d], one row an input.

    INPUTS are image files, folders (with what is in their subfolders), URLs or patterns, or
    sentences with --text; - reads them from standard input, one a line. An image that cannot be
    read has no row.
    """
    if out.suffix != ".npy":
        raise click.UsageError(f"--out {str(out)!r} must end in .npy")
    if not out.parent.is_dir():
        fail(f"{out.parent}: no such folder", CANNOT_WRITE)

    import numpy as np
    import torch

    from zeroshot.errors import ImageError

    loaded = choice.load()
    failed = 0
    rows: list[str] = []
    if text:
        rows = list(sources.sentences(inputs))
        if not rows:
            raise click.UsageError("no sentences on standard input")
        embeddings = loaded.encode_text(rows, truncate=truncate)
    else:
        from zeroshot.pipeline import embedded

        def prepare(path: str) -> tuple[str, np.ndarray | ImageError]:
            try:
                return path, loaded.prepare(path)
            except ImageError as error:
                return path, error

        def encode_batch(
            batch: list[tuple[str, np.ndarray | ImageError]],
        ) -> tuple[list[tuple[str, ImageError | None]], torch.Tensor | None]:
            pixels = [each for _, each in batch if not isinstance(each, ImageError)]
            outcomes = [(path, r if isinstance(r, ImageError) else None) for path, r in batch]
            return outcomes, loaded.encode_pixels(np.stack(pixels)) if pixels else None

        parts = []
        images = sources.images(inputs)
        for outcomes, part in embedded(prepare, encode_batch, images, pool=loaded.pool):
            for path, error in outcomes:
                if error is None:
                    rows.append(path)
                else:
                    failed += 1
                    click.echo(f"Error: {error}", err=True)
            if part is not None:
                parts.append(part)
        if failed and not parts:
            click.echo(f"no image could be read; {out} is not written", err=True)
            raise SystemExit(SOME_FAILED)
        embeddings = torch.cat(parts) if parts else torch.zeros(0, loaded.embed_dim)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.save(file, embeddings.cpu().numpy())
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    names = "".join(f"{row}\n" for row in rows)
    out.with_suffix(".txt").write_text(names, "utf-8", errors="surrogateescape")
    click.echo(
        f"{out}: {len(rows)} embeddings of {loaded.embed_dim} numbers; what each row is: "
        f"{out.with_suffix('.txt')}",
        err=True,
    )
    if failed:
        click.echo(f"{failed} of {failed + len(rows)} images could not be read", err=True)
        raise SystemExit(SOME_FAILED)
