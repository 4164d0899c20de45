"""Options that name labels or a saved head; find the model of a head; write heads."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zeroshot.cli.completion import complete_labels, complete_prompts
from zeroshot.cli.options import ModelChoice
from zeroshot.errors import HeadMismatch, ModelNotFound

if TYPE_CHECKING:
    from zeroshot.head import Head

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def head_options(
    labels: str, default_prompts: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds --labels, --allow-equal, --head and --prompts.

    `labels` is the help of --labels, `default_prompts` is what applies without --prompts.
    """
    options = (
        click.option(
            "-p",
            "--prompts",
            shell_complete=complete_prompts,
            help=f"A prompt set, file or template. Default: {default_prompts}",
        ),
        click.option(
            "--head",
            type=click.Path(),
            help="A saved head, instead of --labels. Without --model the model that built it is "
            "loaded.",
        ),
        click.option(
            "--allow-equal",
            is_flag=True,
            help="Accept labels with the same tokens, such as Cat and cat.",
        ),
        click.option("-l", "--labels", multiple=True, shell_complete=complete_labels, help=labels),
    )

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in options:
            command = option(command)
        return command

    return add


def reject_with_head(head: str | None, given: Mapping[str, object]) -> None:
    """Reject options, by name, together with a head, whose labels and prompts are fixed."""
    for option, value in given.items():
        if head is not None and value:
            raise click.UsageError(
                f"expected no {option} with --head, whose labels and prompts are fixed; omit one"
            )


def choose_model(head: Head, path: str | None, choice: ModelChoice) -> ModelChoice:
    """Return the choice of the model that built a head.

    Raises HeadMismatch if another model of the catalog was chosen.
    """
    if choice.is_default:
        return replace(choice, model=_find_model(head, path))
    from zeroshot import catalog

    if not os.path.exists(choice.model):
        with suppress(ModelNotFound):
            built, given = catalog.find(head.source or ""), catalog.find(choice.model)
            if built.name != given.name:
                raise HeadMismatch(
                    f"{path}: this head was built by {built.name}, got --model {choice.model}; "
                    "omit --model, or build another head with --save-head"
                )
    return choice


def _find_model(head: Head, path: str | None) -> str:
    """Return the model that built a head: a catalog model or a Hub repository, never a path."""
    from zeroshot import catalog

    source = head.source or ""
    with suppress(ModelNotFound):
        return catalog.PREFIX + catalog.find(source).name
    if REPOSITORY.fullmatch(source):
        if os.path.exists(source):
            kind = "folder" if os.path.isdir(source) else "file"
            raise click.UsageError(
                f"expected --model, because {path} names the Hub repository {source}, and the "
                f"local {kind} {source} has the same name; give the model that built the head"
            )
        return source
    raise click.UsageError(
        f"expected --model, because {path} does not name a catalog model or a Hub repository; give "
        "the model that built the head"
    )


def write_head(head: Head, path: Path, option: str = "--save-head") -> None:
    """Save a head; replace an existing file only if it is a head."""
    if path.exists():
        try:
            type(head).load(path)
        except HeadMismatch as error:
            raise click.UsageError(
                f"{path} exists and is not a head; use another file name for {option}"
            ) from error
    head.save(path)
