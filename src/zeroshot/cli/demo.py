"""`zeroshot demo`: classify the sample photograph with mini, without a download."""

from __future__ import annotations

import sys

import click

LABELS = ["cat", "dog", "rabbit", "fox", "coffee", "boat"]


@click.command("demo")
def command() -> None:
    """Classify the sample photograph of the package with mini.

    Nothing is downloaded. The command shows that the installation works.
    """
    import zeroshot
    from zeroshot.labeling.sinks import can_encode
    from zeroshot.predictions import table

    found = zeroshot.classify(zeroshot.sample_image(), LABELS, model="mini")
    block = "█" if can_encode("█", sys.stdout) else "#"
    click.echo(table(found, block if sys.stdout.isatty() else None))
    click.echo()
    click.echo("mini is a demo model: results are only indicative.")
    click.echo("For real use, run: zeroshot classify photo.jpg --labels 'cat,dog'")
