"""The SDK from a shell, one module a command; torch is imported last, when a network is needed.

Exit codes: 0 done, 1 doctor found a fault, 2 wrong usage, 3 some images could not be read, 4 no
such model, no way to fetch it, or a head of another, 74 output cannot be written, 130 interrupted.
"""

from __future__ import annotations

import io
import sys
import warnings

import click

import zeroshot
from zeroshot.cli import bench, classify, convert, doctor, encode, lock, models, prompts
from zeroshot.cli.failures import reported, show_warning
from zeroshot.collector import skip_at_exit


class _Group(click.Group):
    """A group that turns the package's errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        # File names need not be text, and terminals need not know every letter of a label.
        for stream, how in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=how)
        with reported(), warnings.catch_warnings():
            warnings.showwarning = show_warning
            result = super().invoke(ctx)
            sys.stdout.flush()  # now, while a full disk can still be reported
            return result


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zeroshot.__version__, prog_name="zeroshot")
def main() -> None:
    """Label pictures with words they were never trained on."""


for module in (bench, classify, convert, doctor, encode, lock, models, prompts):
    main.add_command(module.command)


def run() -> None:
    """Be the process of the command line."""
    skip_at_exit()
    main(prog_name="zeroshot")
