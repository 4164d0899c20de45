"""`zeroshot encode`: embeddings of images or sentences to a .npy file."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli import sources
from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.options import model_options


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@click.option("--text", is_flag=True, help="INPUTS are sentences, not images.")
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
    out: Path,
    model: str,
    device: str | None,
    dtype: str | None,
    offline: bool,
) -> None:
    """Write unit embeddings, float32 [n, d], one row an input.

    INPUTS are image files, folders, URLs or patterns, or sentences with --text; - reads paths
    from standard input. An image that cannot be read has no row.
    """
    if out.suffix != ".npy":
        raise click.UsageError(f"--out {str(out)!r} must end in .npy")

    import numpy as np
    import torch

    import zeroshot
    from zeroshot.errors import ImageError

    loaded = zeroshot.load(model, device=device, dtype=dtype, offline=offline)
    failed = 0
    rows: list[str] = []
    if text:
        rows = list(inputs)
        embeddings = loaded.encode_text(rows)
    else:
        from zeroshot.pipeline import ahead, batches, cores

        def prepare(path: str) -> tuple[str, np.ndarray | ImageError]:
            try:
                return path, loaded.prepare(path)
            except ImageError as error:
                return path, error

        parts = []
        prepared = ahead(prepare, sources.images(inputs), workers=cores(), limit=128)
        for batch in batches(prepared, 64):
            pixels = []
            for path, result in batch:
                if isinstance(result, ImageError):
                    failed += 1
                    click.echo(f"Error: {result}", err=True)
                else:
                    rows.append(path)
                    pixels.append(result)
            if pixels:
                parts.append(loaded.encode_pixels(np.stack(pixels)))
        embeddings = torch.cat(parts) if parts else torch.zeros(0, loaded.embed_dim)
    with out.open("wb") as file:
        np.save(file, embeddings.cpu().numpy())
    out.with_suffix(".txt").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    click.echo(f"{out}: {len(rows)} embeddings of {loaded.embed_dim} numbers", err=True)
    if failed:
        click.echo(f"{failed} of {failed + len(rows)} images could not be read", err=True)
        raise SystemExit(SOME_FAILED)
