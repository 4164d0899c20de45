"""Compute the figures of an evaluation, each with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from zeroshot import metrics
from zeroshot.evaluation.answers import Answers
from zeroshot.metrics import Floats

CONFIDENCE = 0.95  # confidence of all intervals
ROUNDING = 1e-12  # of a standard error that is 0


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


def multi_label(scores: Floats, truth: NDArray[np.bool_]) -> dict[str, Figure]:
    """Return the figures of images with several labels: scores and truth are [n, L].

    At least one image must have a label.

    "top1" is the share of images whose best label is one of theirs, among images with a label.
    """
    labeled = truth.any(axis=1)
    hits = truth[np.arange(len(scores)), scores.argmax(axis=1)][labeled]
    return {"map": mean_precision(scores, truth), "top1": proportion(hits)}


def mean_precision(scores: Floats, truth: NDArray[np.bool_]) -> Figure:
    """Return the mean average precision with a jackknife interval over images.

    A bootstrap repeats images of a label, which raises its average precision, and the average
    precision of few images is itself too high: percentile intervals contained the true value in
    0 to 87 % of simulations instead of 95 %. The jackknife estimates that bias and the variance
    from the figures without each image (Efron and Tibshirani 1993, "An Introduction to the
    Bootstrap", chapters 10 and 11). The interval is normal around the corrected value, widened to
    contain the figure. In four simulations of 200 to 1000 images it contains the true value in 93
    to 94 %.
    """
    n = len(scores)
    value, total, labels = 0.0, np.zeros(n), np.zeros(n)
    used = np.flatnonzero(truth.any(axis=0)).tolist()
    for i in used:
        value += metrics.average_precision(scores[:, i], truth[:, i]) / len(used)
        each = precisions_without(scores[:, i], truth[:, i])
        known = ~np.isnan(each)
        total += np.where(known, each, 0.0)
        labels += known
    if not labels.all():  # a figure without an image is undefined, as of one label in one image
        return Figure(value)
    without = total / labels
    corrected = value - (n - 1) * (float(without.mean()) - value)
    spread = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * spread
    low = max(0.0, min(value, corrected - half))
    high = min(1.0, max(value, corrected + half))
    return Figure(value, low, high) if spread > ROUNDING else Figure(value)


def precisions_without(scores: Floats, truth: NDArray[np.bool_]) -> Floats:
    """Return the average precision of one label without each of the images: float64 [n].

    NaN without the only image of the label. Images with equal scores are one step.
    """
    order = np.argsort(-scores, kind="stable")
    positive = truth[order].astype(np.float64)
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    group = np.searchsorted(ends, np.arange(len(scores)))  # of each image
    found = positive.cumsum()[ends][group]  # positives up to the end of its group
    images = ends[group] + 1.0  # images up to there
    fewer = np.maximum(images - 1, 1)  # a first image has no term without itself
    kept = _sums(positive * found / images)
    rest_without_negative = _sums(positive * found / fewer)
    rest_without_positive = _sums(positive * (found - 1) / fewer)
    starts = np.append(0, ends[:-1] + 1)[group]
    # groups before that of the image keep their precision; it is missing in its own and the others
    before = kept[starts]
    negative_rest = rest_without_negative[-1] - rest_without_negative[starts]
    positive_rest = rest_without_positive[-1] - rest_without_positive[starts] - (found - 1) / fewer
    total = before + np.where(positive == 1, positive_rest, negative_rest)
    left = positive.sum() - positive
    result = np.full(len(scores), np.nan)
    result[order] = np.divide(total, left, out=result[order], where=left > 0)
    return result


def _sums(values: Floats) -> Floats:
    """Return the sum of the first k values for k from 0 to n."""
    return np.append(0.0, values.cumsum())


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
