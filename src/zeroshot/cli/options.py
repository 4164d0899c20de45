"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def model_options(command: Command) -> Command:
    """Add --model, --device, --dtype and --offline."""
    for option in (
        click.option("--offline", is_flag=True, help="Use cached files only, never the network."),
        click.option("--dtype", help="float32, bfloat16 or float16; the device's best by default."),
        click.option("--device", help="cpu, cuda or mps; the best there is by default."),
        click.option(
            "-m",
            "--model",
            default="ViT-B/32",
            show_default=True,
            help="A name of `zeroshot models`, a hub repository, or a path; "
            "mini needs no download.",
        ),
    ):
        command = option(command)
    return command


images_argument = click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
