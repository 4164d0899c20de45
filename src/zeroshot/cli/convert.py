"""`zeroshot convert`: a checkpoint of any layout into one safetensors file that says it all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click


@click.command("convert")
@click.argument("source", metavar="SOURCE")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path), metavar="TARGET")
@click.option("--like", help="The catalogued model whose activation and preprocessing SOURCE has.")
@click.option("--half", is_flag=True, help="Store matrices in half precision: half the size.")
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
@click.option("--offline", is_flag=True, help="Use cached files only, never the network.")
def command(
    source: str, target: Path, like: str | None, half: bool, force: bool, offline: bool
) -> None:
    """Write a checkpoint as one safetensors file.

    SOURCE is a file or folder of any layout that `zeroshot.load` reads, or a model's name. TARGET
    then holds weights, architecture, activation, preprocessing and vocabulary, and needs nothing
    beside it.
    """
    if target.suffix != ".safetensors":
        raise click.UsageError(f"TARGET {str(target)!r} must end in .safetensors")
    if target.exists() and not force:
        raise click.UsageError(f"{target} exists; --force replaces it")
    if not target.parent.is_dir():
        raise click.UsageError(f"{target.parent} is not a folder")

    import zeroshot

    load = partial(zeroshot.load, device="cpu", dtype="float32")
    path: str | Path = Path(source) if Path(source).exists() else source
    model = load(path, like=like, offline=offline)
    model.save(target, half=half)
    written = load(target)  # read back before it is called done
    click.echo(
        f"{target}: {target.stat().st_size / 1e6:.1f} MB, identity {written.identity}", err=True
    )
