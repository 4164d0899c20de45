"""Options that decide when a classifier answers, and with how many labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from zeroshot.cli.messages import note

if TYPE_CHECKING:
    from zeroshot.classifier import Classifier
    from zeroshot.predictions import Failure, LabelSet

ANSWER_OPTIONS = {
    "below": click.option(
        "--below",
        type=float,
        metavar="SCORE",
        help="Give no answer if the best label has a lower score. Promises nothing.",
    ),
    "error": click.option(
        "--error",
        type=float,
        metavar="SHARE",
        help="With a calibrated --head: at most this share of the answers is wrong.",
    ),
    "keep": click.option(
        "--keep",
        type=float,
        metavar="SHARE",
        help="With a calibrated --head: answer this share of the images that show a label, or "
        "more.",
    ),
    "none_of_these": click.option(
        "--none",
        "none_of_these",
        is_flag=True,
        help="With --labels: an image can be none of the labels; about 2,500 other words are "
        "compared.",
    ),
}
set_option = click.option(
    "--set",
    "coverage",
    type=float,
    metavar="SHARE",
    help="With a calibrated --head: show a set of labels per image; this share of the sets "
    "contains the right label.",
)


@dataclass(frozen=True)
class AnswerChoice:
    """The options that decide when a classifier answers."""

    none_of_these: bool
    keep: float | None = None
    error: float | None = None
    below: float | None = None

    def apply(self, classifier: Classifier) -> Classifier:
        """Return a classifier that answers as chosen; print what that promises."""
        if self.keep is None and self.error is None and self.below is None:
            return classifier
        chosen = classifier.answering(keep=self.keep, error=self.error, below=self.below)
        note(str(chosen.answers))
        return chosen


def answer_options(
    *, without: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the options for when there is an answer, as `answers`.

    `without` is an option that the command has with another meaning.
    """
    names = [name for name in ANSWER_OPTIONS if name != without]

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_choice(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in names}
            command(answers=AnswerChoice(**chosen), **given)

        for name in names:
            with_choice = ANSWER_OPTIONS[name](with_choice)
        return with_choice

    return add


def check_answers(
    answers: AnswerChoice, head: str | None, *, coverage: float | None = None
) -> None:
    """Reject options that do not fit each other, or that require a head or exclude one."""
    given = [name for name in ("keep", "error", "below") if getattr(answers, name) is not None]
    options = ", ".join(f"--{name}" for name in given)
    for name, value in {**vars(answers), "set": coverage}.items():
        if name in (*given, "set") and value is not None and not 0 < value < 1:
            raise click.UsageError(
                f"expected --{name} between 0 and 1, got {value}; for example --{name} 0.9"
            )
    if len(given) > 1:
        raise click.UsageError(f"expected one of --keep, --error and --below, got {options}")
    if coverage is not None and given:
        raise click.UsageError(
            f"expected either --set or {options}, got both; --set shows a set for every image, so "
            f"omit {options}"
        )
    if given and given != ["below"] and head is None:
        raise click.UsageError(
            f"expected a calibrated --head with {options}; make one with --save-head and "
            "`zeroshot calibrate SOURCE --head HEAD --output HEAD`"
        )
    if answers.none_of_these and head is not None:
        raise click.UsageError("expected --none with --labels, got --head, which has it or not")
    if coverage is not None and head is None:
        raise click.UsageError(
            "expected a calibrated --head with --set; make one with --save-head and `zeroshot "
            "calibrate SOURCE --head HEAD --output HEAD`"
        )


def note_promise(sets: Iterator[LabelSet | Failure]) -> Iterator[LabelSet | Failure]:
    """Yield sets, and print once what they promise."""
    noted = False
    for each in sets:
        promise = getattr(each, "promise", None)
        if promise and not noted:
            note(promise)
            noted = True
        yield each
