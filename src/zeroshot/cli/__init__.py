"""The SDK from a shell, one module a command; torch is imported last, when a network is needed.

Exit codes: 0 done, 2 wrong usage, 3 some images could not be read, 4 no such model or no way to
fetch it, 74 output cannot be written, 130 interrupted.
"""

from __future__ import annotations

import click

import zeroshot
from zeroshot.cli.classify import classify
from zeroshot.cli.encode import encode
from zeroshot.cli.failures import reported
from zeroshot.cli.models import models
from zeroshot.cli.prompts import prompts


class _Group(click.Group):
    """A group that turns the package's errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        with reported():
            return super().invoke(ctx)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zeroshot.__version__, prog_name="zeroshot")
def main() -> None:
    """Label pictures with words they were never trained on."""


for command in (classify, encode, models, prompts):
    main.add_command(command)
