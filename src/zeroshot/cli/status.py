"""`zeroshot status`: describe a folder that `zeroshot label` writes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.messages import escaped
from zeroshot.cli.option_names import named_options


@click.command("status")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@named_options()
def command(folder: Path, as_json: bool) -> None:
    """Count rows, errors and missing parts of a table.

    Describes the table that `zeroshot label` writes to FOLDER, also while it runs.

    Exits with 3 if parts are missing or rows have an error.
    """
    from zeroshot.bulk.status import read_status

    found = read_status(folder)
    click.echo(json.dumps(found.to_dict()) if as_json else escaped(str(found)))
    if found.errors or not found.is_complete:
        raise SystemExit(SOME_FAILED)
