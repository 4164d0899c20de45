"""Decide when a classifier answers, and say what the decision promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zeroshot.arguments import share
from zeroshot.calibration import (
    Calibration,
    answers_for,
    error_threshold,
    keep_threshold,
    lowest_error,
)
from zeroshot.errors import InputError

Kind = Literal["keep", "error", "below", "sure"]

HOLDS = "It holds for images like those you calibrated with"


@dataclass(frozen=True)
class Answering:
    """When to answer: from which probability of the best label, or of a name in a tree.

    Args:
        kind: The argument of `Classifier.answering` that was given.
        value: Its value.
        threshold: Probability from which the classifier answers.
        promise: What this means for a user.
    """

    kind: Kind
    value: float
    threshold: float
    promise: str

    def __str__(self) -> str:
        return self.promise


def choose(
    given: Mapping[Kind, float | None],
    confidence: float,
    calibration: Calibration | None,
    *,
    has_words: bool,
    has_tree: bool,
) -> Answering:
    """Return when to answer, for the one argument that is given.

    Raises InputError for none or several arguments, a value outside of 0..1, a missing calibration
    or tree, and a promise that the calibration images cannot show.
    """
    chosen = [(kind, value) for kind, value in given.items() if value is not None]
    if len(chosen) != 1:
        names = ", ".join(kind for kind, _ in chosen) or "none of them"
        raise InputError(
            f"expected one of keep=, error=, below= or sure=, got {names}; for example "
            "answering(keep=0.95)"
        )
    kind, value = chosen[0]
    share(kind, value)
    share("confidence", confidence)
    if kind == "below":
        promise = (
            f"Images whose best label has less than {value:.0%} get no answer. This promises "
            "nothing about how many answers are right."
        )
        return Answering(kind, value, value, promise)
    if kind == "sure":
        if not has_tree:
            raise InputError(
                "answering(sure=...) expects a tree of labels, such as {'bird': {'wren': 'wren'}}; "
                "use keep=, error= or below= for a list of labels"
            )
        promise = f"The answer is the finest name whose probability is at least {value:.0%}."
        return Answering(kind, value, value, promise)
    if calibration is None:
        raise InputError(
            f"answering({kind}={value}) requires a calibrated classifier; call "
            "classifier.calibrate(images, truth) first (on the command line `zeroshot calibrate "
            "SOURCE --head HEAD --output HEAD`), or use below="
        )
    if kind == "keep":
        return _keep(value, calibration)
    return _error(value, confidence, calibration, has_words=has_words)


def _keep(value: float, calibration: Calibration) -> Answering:
    known = calibration.surety[calibration.known]
    least = -(-1 // (1 - value)) - 1
    if len(known) < least:
        raise InputError(
            f"keep={value} needs {least:.0f} calibration images that show a label, there are "
            f"{len(known)}; calibrate with more images, or use a lower value"
        )
    promise = (
        f"At most {round(100 * (1 - value))} of 100 images that do show one of your labels are "
        f"turned away. It says nothing about how many others get through. {HOLDS}."
    )
    return Answering("keep", value, keep_threshold(known, value), promise)


def _error(
    value: float, confidence: float, calibration: Calibration, *, has_words: bool
) -> Answering:
    if has_words and calibration.known.all():
        raise InputError(
            "answering(error=...) with none_of_these expects calibration images of none of the "
            "labels too, got only images with a label; add images whose truth is None (on the "
            "command line in a folder `none of these`), or use keep="
        )
    surety, right = calibration.surety, calibration.right
    threshold = error_threshold(surety, right, value, confidence)
    if threshold is None:
        lowest = lowest_error(surety, right, confidence)
        advice = (
            f"the lowest that they can show is {lowest:.2f}" if lowest < 1 else "none can be shown"
        )
        raise InputError(
            f"error={value} cannot be shown with these {len(surety)} calibration images: {advice}; "
            f"calibrate with 100 to 300 images ({answers_for(value, confidence)} or more right "
            "answers in a row are needed), or accept a higher error"
        )
    share_of_none = ", with as many images of none of the labels" if has_words else ""
    silent = float((surety < threshold).mean())
    promise = (
        f"We are {confidence:.0%} sure that at most {round(100 * value)} of 100 answers given are "
        f"wrong. {silent:.0%} of your calibration images get no answer. {HOLDS}{share_of_none}."
    )
    return Answering("error", value, threshold, promise)
