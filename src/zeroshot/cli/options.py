"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from zeroshot.model import Model


@dataclass(frozen=True)
class ModelChoice:
    """The model that a command line asks for, not loaded yet."""

    model: str
    device: str | None
    dtype: str | None
    decode: Literal["exact", "fast"]
    like: str | None
    lock: Path | None
    offline: bool

    def load(self) -> Model:
        """Load it; this imports torch."""
        import zeroshot

        return zeroshot.load(
            self.model,
            device=self.device,
            dtype=self.dtype,
            decode=self.decode,
            like=self.like,
            lock=self.lock,
            offline=self.offline,
        )


MODEL_OPTIONS = (
    click.option("--offline", is_flag=True, help="Use cached files only, never the network."),
    click.option(
        "--lock",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file of `zeroshot lock`: load what it holds, or fail.",
    ),
    click.option(
        "--like",
        metavar="NAME",
        help="For a bare state dict: a model with its activation and preprocessing.",
    ),
    click.option(
        "--decode",
        type=click.Choice(["exact", "fast"]),
        default="exact",
        show_default=True,
        help="fast reads large JPEGs at a half or less of their size.",
    ),
    click.option("--dtype", help="float32, bfloat16 or float16; the device's best by default."),
    click.option("--device", help="cpu, cuda or mps; the best there is by default."),
    click.option(
        "-m",
        "--model",
        default="ViT-B/32",
        show_default=True,
        help="A name of `zeroshot models`, a hub repository, or a path; mini needs no download.",
    ),
)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose a model; the command gets them as one `choice`."""

    @wraps(command)
    def with_choice(*, model: str, device: str | None, dtype: str | None, **rest: Any) -> None:
        names = ("decode", "like", "lock", "offline")
        command(choice=ModelChoice(model, device, dtype, *map(rest.pop, names)), **rest)

    for option in MODEL_OPTIONS:
        with_choice = option(with_choice)
    return with_choice


images_argument = click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
