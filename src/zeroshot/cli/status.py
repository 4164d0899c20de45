"""`zeroshot status`: describe a folder that `zeroshot label` writes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.messages import escaped


@click.command("status")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, as_json: bool) -> None:
    """Describe a table of `zeroshot label`: rows, errors, missing parts and running processes.

    Exits with 3 if parts are missing or rows have an error.
    """
    from zeroshot.bulk.status import read_status

    found = read_status(folder)
    click.echo(json.dumps(found.to_dict()) if as_json else escaped(str(found)))
    if found.errors or not found.is_complete:
        raise SystemExit(SOME_FAILED)
