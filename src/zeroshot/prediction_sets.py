"""Sets of labels of which one is right, with a promised probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.arguments import flag, one_of, share
from zeroshot.calibration import (
    Calibration,
    SetScore,
    conformal_rank,
    coverage_interval,
    images_for,
    score_labels,
    set_threshold,
)
from zeroshot.errors import InputError, shortened, some
from zeroshot.head import Head
from zeroshot.predictions import LabelSet


@dataclass(frozen=True, eq=False)
class SetRule:
    """Which labels are in a set: those whose score is at most the threshold of the label."""

    thresholds: NDArray[np.float64]  # of each label, [L]
    score: SetScore
    promise: str  # what the sets promise, for a user


def choose_sets(
    head: Head, coverage: float, confidence: float | None, per_label: bool, score: SetScore
) -> SetRule:
    """Return the rule of prediction sets with this coverage.

    Raises InputError for a head without calibration, an invalid argument, or too few calibration
    images.
    """
    share("coverage", coverage)
    if confidence is not None:
        share("confidence", confidence)
    one_of("score", score, get_args(SetScore))
    flag("per_label", per_label)
    if head.calibration is None:
        raise InputError(
            "predict_set requires a calibrated classifier; call classifier.calibrate(images, "
            "truth) first (on the command line `zeroshot calibrate SOURCE --head HEAD --output "
            "HEAD`)"
        )
    calibration = head.calibration
    truth, scores = calibration.truth, calibration.scores[score]
    groups = [calibration.known] if not per_label else [truth == i for i in range(len(head))]
    _check_counts(head, [int(group.sum()) for group in groups], coverage, confidence)
    thresholds = np.array([set_threshold(scores[group], coverage, confidence) for group in groups])
    promise = _promise(
        calibration, min(int(group.sum()) for group in groups), coverage, confidence, per_label
    )
    return SetRule(np.broadcast_to(thresholds, (len(head),)), score, promise)


def _check_counts(head: Head, counts: list[int], coverage: float, confidence: float | None) -> None:
    """Raise InputError if a group of calibration images cannot give the coverage."""
    least = images_for(coverage)
    if confidence is not None:
        least = math.ceil(math.log(1 - confidence) / math.log(coverage))
    short = [
        i for i, count in enumerate(counts) if conformal_rank(count, coverage, confidence) > count
    ]
    if not short:
        return
    if len(counts) == 1:
        raise InputError(
            f"coverage {coverage} needs {least} calibration images that show a label, there are "
            f"{counts[0]}; calibrate with more images, or use a lower coverage"
        )
    missing = [f"{shortened(head.labels[i], 30)} ({least - counts[i]} more)" for i in short]
    raise InputError(
        f"coverage {coverage} per label needs {least} calibration images of each label; too few "
        f"for {some(missing, 5)}; calibrate with more images, or use per_label=False"
    )


def _promise(
    calibration: Calibration,
    images: int,
    coverage: float,
    confidence: float | None,
    per_label: bool,
) -> str:
    """Return the sentences of a set; `images` is the least number of images in a group."""
    count = round(100 * coverage)
    whom = "of each label " if per_label else ""
    end = "It holds for images like those you calibrated with."
    if calibration.has_words:
        end += " If an image shows none of your labels, no set contains the truth."
    if confidence is not None:
        return (
            f"We are {confidence:.0%} sure that at least {count} of 100 such sets {whom}contain "
            f"the right label. {end}"
        )
    low, high = coverage_interval(images, coverage)
    given = f"{images} or more images of each label" if per_label else f"your {images} images"
    if calibration.accuracy > coverage and not per_label:
        figure = (
            f"is {100 * low:.0f} or more in 9 of 10 calibrations; it is probably higher than "
            f"{count} here, because a set always contains the best label"
        )
    else:
        figure = f"lies between {100 * low:.0f} and {100 * high:.0f} in 9 of 10 calibrations"
    return (
        f"{count} of 100 such sets {whom}contain the right label, on average over calibrations "
        f"like this one. With {given} the true figure {figure}. {end}"
    )


def make_sets(
    head: Head, rows: Tensor, sources: Sequence[str | None], rule: SetRule
) -> list[LabelSet]:
    """Return the set of each embedding [n, d]; an empty set becomes the best label."""
    p = closed(head, head.similarities(rows)[0])
    members = score_labels(p, rule.score) <= rule.thresholds
    members[np.arange(len(p)), p.argmax(axis=1)] |= ~members.any(axis=1)
    found = []
    for row, member, source in zip(p, members, sources, strict=True):
        order = [i for i in np.argsort(-row, kind="stable") if member[i]]
        labels = tuple(head.labels[i] for i in order)
        found.append(LabelSet(labels, tuple(float(row[i]) for i in order), source, rule.promise))
    return found


def closed(head: Head, logits: Tensor) -> NDArray[np.float64]:
    """Return the probabilities among the labels alone: [n, L]; with sigmoids, of each label."""
    if head.scoring == "sigmoid":
        scale, offset = head.logistic or (1.0, 0.0)
        return np.asarray((scale * logits.double() + offset).sigmoid().cpu().numpy())
    scaled = (head.inverse_temperature * logits).double()
    return np.asarray(scaled.softmax(dim=-1).cpu().numpy())
