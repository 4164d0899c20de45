"""Ask before files are deleted or moved."""

from __future__ import annotations

import click

from zeroshot.cli.failures import fail
from zeroshot.cli.messages import escaped


def confirm(question: str) -> None:
    """Ask a question; exit with 1 unless the answer is yes. Raises KeyboardInterrupt at Ctrl-C."""
    try:
        is_confirmed = click.confirm(escaped(question), err=True)
    except click.Abort as error:
        click.echo(err=True)  # the answer is missing, and its line break
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        fail("expected an answer on standard input, got none; pass --yes to answer yes", 1)
    if not is_confirmed:
        fail("not confirmed, so nothing was changed; answer y, or pass --yes", 1)
