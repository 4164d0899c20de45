"""`zeroshot models`: which checkpoints can be named."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from zeroshot import catalog


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list with every fact.")
def models(as_json: bool) -> None:
    """List the models that can be named."""
    entries = list(catalog.entries().values())
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    width = max(len(entry.name) for entry in entries)
    click.echo(f"{'name':<{width}}  pixels  width  ImageNet  licence     where")
    for entry in entries:
        accuracy = f"{entry.accuracy:.1f} %" if entry.accuracy is not None else "-"
        click.echo(
            f"{entry.name:<{width}}  {entry.image_size:>6}  {entry.embed_dim:>5}  {accuracy:>8}  "
            f"{entry.license:<10}  {entry.repository or entry.note}"
        )
