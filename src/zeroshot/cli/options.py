"""Options that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from zeroshot.cli.completion import complete_files, complete_models
from zeroshot.cli.messages import note
from zeroshot.errors import HeadMismatch, InputError, WeightsError, shortened

if TYPE_CHECKING:
    from zeroshot.model import Model


@dataclass(frozen=True)
class ModelChoice:
    """The options that select a model; the model is not loaded yet."""

    model: str
    is_default: bool  # no model was given
    device: str | None
    dtype: str | None
    decode: Literal["exact", "fast"]
    like: str | None
    lock: Path | None
    offline: bool
    max_pixels: int | None = None
    background: str | tuple[int, int, int] | None = None

    def load(self) -> Model:
        """Load the model. This imports torch."""
        import zeroshot

        limit: dict[str, Any] = {} if self.max_pixels is None else {"max_pixels": self.max_pixels}
        try:
            loaded = zeroshot.load(
                self.model,
                device=self.device,
                dtype=self.dtype,
                decode=self.decode,
                like=self.like,
                lock=self.lock,
                offline=self.offline,
                background=self.background,
                **limit,
            )
        except WeightsError as error:
            if not _is_head(self.model):
                raise
            raise HeadMismatch(
                f"{shortened(self.model, 300)}: this is a head, not a model; use --head"
            ) from error
        if self.model.lower() == "mini" and sys.stderr.isatty():
            note("mini is a demo model; results are only indicative")
        return loaded


def load_for_table(choice: ModelChoice, folder: Path) -> Model | None:
    """Load the chosen model; without --model that of a table, with the other options.

    Returns None if no option was given: the functions of Python load the model of the table.
    """
    if not choice.is_default:
        return choice.load()
    if choice == ModelChoice(choice.model, True, None, None, "exact", None, None, False):
        return None
    from zeroshot.bulk.stored import open_embedded

    run = open_embedded(folder).run
    dtype = choice.dtype or run.get("dtype") or None
    return replace(choice, model=run["model"], dtype=dtype).load()


def _is_head(path: str) -> bool:
    """Return whether a file is a head."""
    import zeroshot

    try:
        zeroshot.Head.load(path)
    except (HeadMismatch, OSError):
        return False
    return True


def _parse_color(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | tuple[int, int, int] | None:
    """Return a color name, or the levels of "255,255,255" or "(255, 255, 255)"."""
    if value is None:
        return None
    from zeroshot.images.transparency import parse_background

    levels = re.fullmatch(r"\(?\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)?", value)
    color = (int(levels[1]), int(levels[2]), int(levels[3])) if levels else value
    try:
        parse_background(color)
    except InputError as error:
        raise click.BadParameter(
            f"expected a name such as white or red, #ffffff, or three levels in 0..255 such as "
            f"255,255,255, got {shortened(repr(value))}"
        ) from error
    return color


LOAD_OPTIONS = (
    click.option(
        "--background",
        metavar="COLOR",
        callback=_parse_color,
        help="Color behind transparent images: a name such as white, #ffffff or 255,255,255. By "
        "default their hidden colors.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        help="Reject images with more pixels; by default 64000000, in `serve` 24000000.",
    ),
    click.option("--offline", is_flag=True, help="Use only cached files, without network access."),
    click.option(
        "--lock",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Lock file from `zeroshot lock`: load only the files in it.",
    ),
    click.option(
        "--like",
        metavar="NAME",
        shell_complete=complete_models,
        help="For a bare state dict: a catalog model with the same activation and preprocessing.",
    ),
    click.option(
        "--decode",
        type=click.Choice(["exact", "fast"]),
        default="exact",
        show_default=True,
        help="fast decodes large JPEGs at half their size or less.",
    ),
    click.option(
        "--dtype",
        help="float32, bfloat16, float16, or tf32 on CUDA; by default the fastest one for the "
        "device.",
    ),
    click.option("--device", help="cpu, cuda or mps; by default the best one available."),
)
MODEL_OPTION = click.option(
    "-m",
    "--model",
    shell_complete=complete_models,
    default="ViT-B/32",
    show_default=True,
    help="A name from `zeroshot models`, a Hub repository, or a path. mini needs no download.",
)
MODEL_OPTIONS = (*LOAD_OPTIONS, MODEL_OPTION)
TABLE_MODEL_OPTION = click.option(
    "-m",
    "--model",
    shell_complete=complete_models,
    default="",
    help="The model of the table: a name, a Hub repository, or a path. By default it is loaded by "
    "the name in the table.",
)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the model options to a command, which receives them as `choice`."""
    return _with_options(command, MODEL_OPTIONS)


def table_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the model options to a command whose default model is that of a table."""
    return _with_options(command, (*LOAD_OPTIONS, TABLE_MODEL_OPTION))


def _with_options(
    command: Callable[..., None], options: Iterable[Callable[..., Any]]
) -> Callable[..., None]:
    """Add options to a command, which receives them as `choice`."""

    @wraps(command)
    def with_choice(*, model: str, device: str | None, dtype: str | None, **rest: Any) -> None:
        names = ("decode", "like", "lock", "offline", "max_pixels", "background")
        given = click.get_current_context().get_parameter_source("model")
        is_default = given is click.core.ParameterSource.DEFAULT
        choice = ModelChoice(model, is_default, device, dtype, *map(rest.pop, names))
        command(choice=choice, **rest)

    for option in options:
        with_choice = option(with_choice)
    return with_choice


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that read images: -0 and --strict."""
    for option in (
        click.option(
            "--strict",
            is_flag=True,
            help="Exit with 3 if files in folders were skipped, such as files that are no images.",
        ),
        click.option(
            "-0",
            "--null",
            is_flag=True,
            help="Paths on standard input are separated by NUL, as from `find -print0`.",
        ),
    ):
        command = option(command)
    return command


images_argument = click.argument(
    "images", nargs=-1, required=True, metavar="IMAGES...", shell_complete=complete_files
)
