"""Choose when a classifier answers; find the model of a saved head; write heads."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zeroshot.cli.messages import note
from zeroshot.cli.options import ModelChoice
from zeroshot.errors import HeadMismatch, ModelNotFound

if TYPE_CHECKING:
    from zeroshot.classifier import Classifier
    from zeroshot.head import Head

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
ANSWER_OPTIONS = (
    click.option(
        "--below",
        type=float,
        metavar="SCORE",
        help="Give no answer if the best label has a lower score. Promises nothing.",
    ),
    click.option(
        "--error",
        type=float,
        metavar="SHARE",
        help="With a calibrated --head: at most this share of the answers is wrong.",
    ),
    click.option(
        "--keep",
        type=float,
        metavar="SHARE",
        help="With a calibrated --head: answer this share of the images that show a label, or "
        "more.",
    ),
    click.option(
        "--none",
        "none_of_these",
        is_flag=True,
        help="With --labels: an image can be none of the labels; about 2,500 other words are "
        "compared.",
    ),
)


@dataclass(frozen=True)
class AnswerChoice:
    """The options that decide when a classifier answers."""

    none_of_these: bool
    keep: float | None
    error: float | None
    below: float | None

    def apply(self, classifier: Classifier) -> Classifier:
        """Return a classifier that answers as chosen; print what that promises."""
        if self.keep is None and self.error is None and self.below is None:
            return classifier
        chosen = classifier.answering(keep=self.keep, error=self.error, below=self.below)
        note(str(chosen.answers))
        return chosen


def answer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that decide when there is an answer, received as `answers`."""

    @wraps(command)
    def with_choice(**given: Any) -> None:
        names = ("none_of_these", "keep", "error", "below")
        command(answers=AnswerChoice(*map(given.pop, names)), **given)

    for option in ANSWER_OPTIONS:
        with_choice = option(with_choice)
    return with_choice


def check_answers(answers: AnswerChoice, head: str | None) -> None:
    """Reject --none with a head, which was built with it or without."""
    if answers.none_of_these and head is not None:
        raise click.UsageError("expected --none with --labels, got --head, which has it or not")


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
