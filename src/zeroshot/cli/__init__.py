"""The command line, one module per command.

torch is imported only when a model is needed, so that `--help` is fast.

Exit codes: 0 success, 1 doctor found a problem, lint an error, or an optional package is missing, 2
invalid usage, 3 some images could not be read, 4 model or head not found or unreadable, 74 cannot
write the output, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from importlib import import_module
from typing import Any

import click

import zeroshot
from zeroshot.cli.failures import exit_on_error
from zeroshot.cli.messages import LEVELS, level_options, printed, show_warning
from zeroshot.collector import skip_at_exit
from zeroshot.errors import shortened
from zeroshot.labeling.sources import SUFFIXES

COMMANDS = (  # modules of this package
    *("bench", "calibrate", "classify", "completion", "convert", "demo", "doctor", "encode"),
    *("evaluate", "find", "label", "lint", "lock", "merge", "models", "prompts", "relabel"),
    *("serve", "sort", "status", "tag"),
)


class _Group(click.Group):
    """A command group that reports zeroshot errors as one line and an exit code."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with exit_on_error():
            return super().make_context(*args, **options)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-") and _is_image_argument(name):
            raise click.UsageError(
                f"expected a command, got {shortened(name, 200)!r}; to classify images, run: "
                f"zeroshot classify {shortened(name, 200)} --labels 'dog,cat'"
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        # File names may be invalid UTF-8, and terminals may not support all characters of labels.
        for stream, how in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=how)
        with exit_on_error(), printed(**ctx.meta[LEVELS]), warnings.catch_warnings():
            warnings.showwarning = show_warning
            result = super().invoke(ctx)
            sys.stdout.flush()  # flush here, so that a full disk can be reported
            return result


def _is_image_argument(name: str) -> bool:
    """Return whether a word is a path or URL rather than a misspelled command."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in SUFFIXES or "://" in name or os.path.exists(name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zeroshot.__version__, prog_name="zeroshot")
@level_options
def main() -> None:
    """Zero-shot image classification with CLIP."""


for name in COMMANDS:
    main.add_command(level_options(import_module(f"{__name__}.{name}").command))


def _exit_on_signal(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # the code that shells report


def run() -> None:
    """Run the command line as the main program of the process."""
    skip_at_exit()
    for name in ("SIGTERM", "SIGHUP"):  # exit as after an error: temporary files are removed
        number = getattr(signal, name, None)
        if (
            number is not None and signal.getsignal(number) == signal.SIG_DFL
        ):  # nohup ignores SIGHUP
            signal.signal(number, _exit_on_signal)
    main(prog_name="zeroshot")
