"""Compute the figures of an evaluation, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zeroshot import metrics
from zeroshot.evaluation.answers import Answers
from zeroshot.metrics import Floats

CONFIDENCE = 0.95  # confidence of all intervals


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval; bounds are None where there is no valid interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LabelFigure:
    """The images of one label: how many, how many are answered right, and their share."""

    label: str
    n: int
    right: int
    answers: int  # images that got this label
    accuracy: Figure | None  # None without images


@dataclass(frozen=True)
class Bin:
    """A bin of the reliability diagram: images of similar confidence."""

    n: int
    confidence: float  # mean
    accuracy: Figure


def proportion(right: NDArray[np.bool_]) -> Figure:
    """Return a share of images with Wilson's interval."""
    return _share(int(right.sum()), len(right))


def _share(count: int, of: int) -> Figure:
    return Figure(count / of, *metrics.wilson_interval(count, of, CONFIDENCE))


def bootstrapped(
    statistic: metrics.Statistic, images: int, *, draws: int = metrics.DRAWS, seed: int = 0
) -> Figure:
    """Return a figure with its bootstrap interval; equal resamples, as of one image, give none.

    `statistic` is a function from weights of the images [draws, n] to values [draws].
    """
    return _bootstrapped(lambda weights: statistic(weights)[:, None], images, draws, seed)[0]


def _bootstrapped(statistic: metrics.Statistic, images: int, draws: int, seed: int) -> list[Figure]:
    """Return the figures of a function from weights [draws, n] to values [draws, figures]."""
    low, high = metrics.bootstrap(statistic, images, draws=draws, confidence=CONFIDENCE, seed=seed)
    values = statistic(np.ones((1, images)))[0]
    return [
        Figure(value, *bounds) if bounds[0] < bounds[1] else Figure(value)
        for value, *bounds in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    ]


def auroc(
    scores: Floats, positive: NDArray[np.bool_], *, draws: int = metrics.DRAWS, seed: int = 0
) -> Figure:
    """Return the area under the ROC curve of scores [n], which should be high for positives [n].

    NaN without positives or negatives.
    """
    order = np.argsort(~positive, kind="stable")  # positives first

    def area(weights: Floats) -> Floats:
        return metrics.auroc(scores[positive], scores[~positive], weights[:, order])

    return bootstrapped(area, len(scores), draws=draws, seed=seed)


def single_label(
    answers: Answers,
    labels: int,
    *,
    sums_to_one: bool,
    abstains: bool = False,
    draws: int,
    seed: int,
) -> dict[str, Figure]:
    """Return the figures of images with one right label each.

    The calibration error has no interval: a bootstrap interval of a calibrated model's error never
    contains its true value 0, because resampling adds to the error. Its floor says how to read it.
    `abstains` adds the figures of a classifier that may give no answer, and omits the top five,
    which its users do not get. Without `sums_to_one`, Brier score and NLL are omitted: the
    probabilities of an image do not sum to 1, or right columns have no probability.
    """
    right = answers.right
    found = {"top1": proportion(right)}
    if labels > 5 and not abstains:
        found["top5"] = proportion(answers.rank < 5)
    if abstains:
        found |= _answered(answers, labels, draws=draws, seed=seed)
    brier = answers.squares - 2 * answers.own + 1
    loss = -np.log(np.maximum(answers.own, np.finfo(np.float64).tiny))

    def all_of(weights: Floats) -> Floats:
        values = (
            metrics.mean_per_label(right, answers.truth, weights),
            metrics.mean(brier, weights),
            metrics.mean(loss, weights),
            metrics.area_under_risk(answers.confidence, answers.is_best_right, weights),
        )
        return np.stack(values, axis=-1)

    names = ("mean_per_label", "brier", "nll", "aurc")
    found |= dict(zip(names, _bootstrapped(all_of, len(right), draws, seed), strict=True))
    if not sums_to_one:
        del found["brier"], found["nll"]
    error = metrics.calibration_error(answers.confidence, answers.is_best_right)
    return found | {"ece": Figure(float(error))}


def _answered(answers: Answers, labels: int, *, draws: int, seed: int) -> dict[str, Figure]:
    """Return how many images are answered, and how well those without a label are recognized."""
    answered, known = answers.best < labels, answers.truth < labels
    found = {"answered": proportion(answered)}
    if answered.any():
        found["right_among_answers"] = proportion(answers.right[answered])
    if known.all() or not known.any():
        return found
    found["known_answered"] = proportion(answered[known])
    found["unknown_turned_away"] = proportion(~answered[~known])
    return found | {"auroc": auroc(answers.confidence, known, draws=draws, seed=seed)}


def per_label(answers: Answers, labels: tuple[str, ...]) -> tuple[LabelFigure, ...]:
    """Return the accuracy of each label."""
    n = np.bincount(answers.truth, minlength=len(labels)).tolist()
    right = np.bincount(answers.truth[answers.right], minlength=len(labels)).tolist()
    given = np.bincount(answers.best, minlength=len(labels)).tolist()
    return tuple(
        LabelFigure(label, n[i], right[i], given[i], _share(right[i], n[i]) if n[i] else None)
        for i, label in enumerate(labels)
    )


def reliability(answers: Answers) -> tuple[Bin, ...]:
    """Return bins of equal numbers of images, sorted by confidence."""
    order = np.argsort(answers.confidence, kind="stable")
    parts = np.array_split(order, min(len(order), metrics.calibration_bins(len(order))))
    return tuple(
        Bin(len(p), float(answers.confidence[p].mean()), proportion(answers.is_best_right[p]))
        for p in parts
    )


def multi_label(
    scores: Floats, truth: NDArray[np.bool_], *, draws: int, seed: int
) -> dict[str, Figure]:
    """Return the figures of images with several labels: scores and truth are [n, L].

    At least one image must have a label.

    "top1" is the share of images whose best label is one of theirs, among images with a label.
    """
    tables = [_Ranking(scores[:, i], truth[:, i]) for i in np.flatnonzero(truth.any(axis=0))]

    def mean_of(weights: Floats) -> Floats:
        each = np.stack([table.precision(weights) for table in tables])
        present = ~np.isnan(each)
        total = np.where(present, each, 0).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.asarray(total / present.sum(axis=0))

    labeled = truth.any(axis=1)
    hits = truth[np.arange(len(scores)), scores.argmax(axis=1)][labeled]
    return {
        "map": bootstrapped(mean_of, len(scores), draws=draws, seed=seed),
        "top1": proportion(hits),
    }


class _Ranking:
    """The images sorted by the score of one label, for average precisions of resamples."""

    def __init__(self, scores: Floats, truth: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        sorted_scores = scores[self._order]
        positive = truth[self._order]
        ends = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
        where = np.flatnonzero(positive)
        self._positive = where
        self._ends = ends[np.searchsorted(ends, where)]  # equal scores are one step

    def precision(self, weights: Floats) -> Floats:
        """Return the average precision for each row of weights [draws, n]."""
        counts = weights[:, self._order]
        total = counts.cumsum(axis=1)[:, self._ends]
        own = counts[:, self._positive]
        # positives up to the end of each group of equal scores
        last = np.searchsorted(self._ends, self._ends, side="right") - 1
        found = own.cumsum(axis=1)[:, last]
        share = np.divide(found, total, out=np.zeros_like(total), where=total > 0)
        with np.errstate(invalid="ignore"):
            return np.asarray((own * share).sum(axis=1) / own.sum(axis=1))


@dataclass(frozen=True)
class LabelPrecision:
    """The average precision of one label, where images have several labels."""

    label: str
    n: int  # images with the label
    precision: float | None  # None without images


def precisions(
    scores: Floats, truth: NDArray[np.bool_], labels: tuple[str, ...]
) -> tuple[LabelPrecision, ...]:
    """Return the average precision of each label."""
    found = []
    for i, label in enumerate(labels):
        n = int(truth[:, i].sum())
        value = metrics.average_precision(scores[:, i], truth[:, i]) if n else None
        found.append(LabelPrecision(label, n, value))
    return tuple(found)
