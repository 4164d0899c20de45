"""`zeroshot merge`: write a table as one file."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli.counts import counted
from zeroshot.cli.messages import escaped, is_quiet


@click.command("merge")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--allow-gaps", is_flag=True, help="Accept a table with missing parts.")
@click.option("--no-embeddings", is_flag=True, help="Leave the embeddings out.")
def command(folder: Path, file: Path, allow_gaps: bool, no_embeddings: bool) -> None:
    """Write the table in FOLDER as one FILE: .parquet, .csv or .jsonl.

    Only a file that this command wrote is replaced.
    """
    from zeroshot.bulk.merging import merge

    rows = merge(
        folder,
        file,
        allow_gaps=allow_gaps,
        embeddings=not no_embeddings,
        progress=False if is_quiet() else None,
    )
    if not is_quiet():
        click.echo(escaped(f"{file}: {counted(rows, 'row')}"), err=True)
