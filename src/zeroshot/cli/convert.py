"""`zeroshot convert`: convert a checkpoint to a single safetensors file."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from zeroshot.cli.completion import complete_models
from zeroshot.cli.failures import CANNOT_WRITE, fail
from zeroshot.cli.outputs import check_output
from zeroshot.files import format_bytes


@click.command("convert")
@click.argument("source", metavar="SOURCE", shell_complete=complete_models)
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path), metavar="TARGET")
@click.option(
    "--like",
    shell_complete=complete_models,
    help="Catalog model with the activation and preprocessing of SOURCE, for a bare state dict.",
)
@click.option(
    "--half", is_flag=True, help="Store matrices in half precision, for half the file size."
)
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
@click.option("--offline", is_flag=True, help="Use only cached files, without network access.")
def command(
    source: str, target: Path, like: str | None, half: bool, force: bool, offline: bool
) -> None:
    """Convert a checkpoint to a single safetensors file.

    SOURCE is a file or folder in any layout that zeroshot.load supports, or a model name. TARGET
    contains weights, architecture, activation, preprocessing and vocabulary, and needs no other
    files.
    """
    if target.suffix != ".safetensors":
        raise click.UsageError(f"expected a TARGET that ends in .safetensors, got {str(target)!r}")
    if target.exists() and not force:
        raise click.UsageError(f"{target} exists; use --force to replace it")
    if not target.parent.is_dir():
        fail(f"{target.parent}: no such folder; create it first", CANNOT_WRITE)

    import zeroshot

    load = partial(zeroshot.load, device="cpu", dtype="float32")
    path: str | Path = Path(source) if os.path.exists(source) else source
    model = load(path, like=like, offline=offline)
    check_output("TARGET", target, [model.checkpoint.source])
    model.save(target, half=half, force=force)
    written = load(target)  # verify that the file can be read
    size = format_bytes(target.stat().st_size)
    click.echo(f"{target}: {size}, fingerprint {written.identity}", err=True)
