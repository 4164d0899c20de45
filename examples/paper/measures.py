"""Measure a classifier in the metric that the paper reports for a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.paper.datasets.base import DataSet, Metric
from zeroshot import Classifier, Report, metrics
from zeroshot.errors import InputError
from zeroshot.evaluation.answers import Embeddings, probabilities
from zeroshot.evaluation.figures import LIKELY, Figure
from zeroshot.evaluation.scoring import measure as evaluate
from zeroshot.evaluation.scoring import resolve
from zeroshot.metrics import DRAWS, Floats

RECALLS = 11  # levels of recall: 0, 0.1, ..., 1

NAMES: dict[Metric, str] = {
    "top1": "top-1",
    "mean_per_class": "mean per class",
    "map11": "11-point mAP",
    "roc_auc": "ROC AUC",
    "mean_top1_top5": "mean of top-1 and top-5",
}


@dataclass(frozen=True)
class Measured:
    """The figure that the paper reports, and the report of `zeroshot.evaluate`."""

    figure: Figure
    report: Report


def measure(
    metric: Metric,
    classifier: Classifier,
    data: DataSet,
    embeddings: Embeddings,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Measured:
    """Measure a classifier on embedded images; the report contains the figure as `metric`.

    Args:
        metric: A metric of table 9 of the paper.
        classifier: A classifier for `data.labels`.
        data: The images and their truth.
        embeddings: The embeddings of `data.images`.
        draws: Number of resamples of the bootstrap intervals.
        seed: Seed of the resamples.
    """
    right = resolve(data.truth, classifier.head)
    report = evaluate(classifier, embeddings, right, images=data.images, draws=draws, seed=seed)
    figure = _figure(metric, classifier, data, embeddings, report, right[embeddings.places], draws)
    return Measured(figure, replace(report, figures=report.figures | {metric: figure}))


def _figure(
    metric: Metric,
    classifier: Classifier,
    data: DataSet,
    embeddings: Embeddings,
    report: Report,
    right: NDArray[Any],
    draws: int,
) -> Figure:
    if metric == "map11":
        if right.ndim != 2:
            raise InputError(
                "expected a list of labels for each image for an 11-point mAP, got one label each"
            )
        scores = probabilities(classifier.head, embeddings)
        counted = _counted(data.ignored, right.shape, embeddings.places)
        return mean_average_precision_11(scores, right, counted, draws=draws)
    if metric == "top1":
        return report.figures["top1"]
    if metric == "mean_per_class":
        return report.figures["mean_per_label"]
    if metric == "mean_top1_top5":
        assert report.answers is not None
        rank = report.answers.rank
        return _mean(((rank < 1) + (rank < 5).astype(float)) / 2, draws)
    if len(classifier.head) != 2:
        raise InputError(f"expected 2 labels for a ROC AUC, got {len(classifier.head)}")
    logits = classifier.head.logits(embeddings.rows).cpu().double().numpy()
    return roc_auc(logits[:, 1] - logits[:, 0], right == 1, draws=draws)


def _mean(values: Floats, draws: int) -> Figure:
    return _with_interval(
        float(values.mean()), lambda weights: metrics.mean(values, weights), len(values), draws
    )


def _with_interval(value: float, statistic: metrics.Statistic, images: int, draws: int) -> Figure:
    """Return a figure with its bootstrap interval; equal resamples give no interval."""
    low, high = metrics.bootstrap(statistic, images, draws=draws, confidence=LIKELY)
    return Figure(value, float(low), float(high)) if low < high else Figure(value)


def roc_auc(scores: Floats, positive: NDArray[np.bool_], *, draws: int = DRAWS) -> Figure:
    """Return the area under the ROC curve of scores [n] of the second label.

    Raises InputError if all images have the same label.
    """
    if positive.all() or not positive.any():
        raise InputError("expected images of both labels for a ROC AUC, got one label only")
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    own = np.flatnonzero(positive[order])
    below = np.searchsorted(ranked, ranked[own], side="left")  # images with lower scores
    upto = np.searchsorted(ranked, ranked[own], side="right")

    def area(weights: Floats) -> Floats:
        counts = weights[:, order]
        negative = np.where(positive[order], 0, counts).cumsum(axis=1)
        negative = np.pad(negative, ((0, 0), (1, 0)))  # [draws, n + 1]; column k: the first k
        pairs = counts[:, own] * (negative[:, below] + negative[:, upto]) / 2
        with np.errstate(invalid="ignore"):
            return np.asarray(pairs.sum(axis=1) / (counts[:, own].sum(axis=1) * negative[:, -1]))

    value = float(metrics.auroc(scores[positive], scores[~positive]))
    return _with_interval(value, area, len(scores), draws)


def average_precision_11(
    scores: Floats, truth: NDArray[np.bool_], weights: Floats | None = None
) -> Floats:
    """Return the mean of the best precision at a recall of at least 0, 0.1, ..., 1: [draws].

    Images with equal scores are one step of the curve. NaN where no image has the label.
    Source: The PASCAL Visual Object Classes Challenge 2007 development kit, section 3.4.1.

    Args:
        scores: Score of the label for each image: [n].
        truth: Whether the label is in the image: bool [n].
        weights: How often each image counts: [draws, n]; once by default.
    """
    counts = np.ones((1, len(scores))) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    ranked = -scores[order]  # ascending
    own = np.flatnonzero(truth[order])
    if not len(own):
        return np.full(len(counts), np.nan)
    ends = np.searchsorted(ranked, ranked[own], side="right") - 1
    counts = counts[:, order]
    total = counts.cumsum(axis=1)[:, ends]
    found = np.where(truth[order], counts, 0).cumsum(axis=1)[:, ends]
    precision = np.divide(found, total, out=np.zeros_like(total), where=total > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    positives = counts[:, own].sum(axis=1)
    lines = np.arange(len(counts))
    result = np.zeros(len(counts))
    for level in range(RECALLS):
        # whole numbers: 0.3 and 3 / 10 differ in floating point
        first = (found * (RECALLS - 1) < level * positives[:, None]).sum(axis=1)
        result += best[lines, np.minimum(first, len(own) - 1)]
    return np.where(positives > 0, result / RECALLS, np.nan)


def mean_average_precision_11(
    scores: Floats,
    truth: NDArray[np.bool_],
    counted: NDArray[np.bool_] | None = None,
    *,
    draws: int = DRAWS,
) -> Figure:
    """Return the mean over labels of `average_precision_11`; arrays are [n, L].

    `counted` is false where an image does not count for a label. The scores are probabilities: the
    paper does not say by what it ranks the images of a class.
    """
    rows = np.ones(truth.shape, bool) if counted is None else counted
    present = np.flatnonzero((truth & rows).any(axis=0))

    def mean_of(weights: Floats | None) -> Floats:
        each = np.stack(
            [
                average_precision_11(
                    scores[rows[:, column], column],
                    truth[rows[:, column], column],
                    None if weights is None else weights[:, rows[:, column]],
                )
                for column in present
            ]
        )
        known = ~np.isnan(each)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, each, 0).sum(axis=0) / known.sum(axis=0))

    return _with_interval(float(mean_of(None)[0]), mean_of, len(scores), draws)


def _counted(
    ignored: Sequence[Sequence[int]], shape: tuple[int, ...], places: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which images count for which label, in the order of the embeddings: bool [m, L]."""
    rows = np.ones(shape, bool)
    for row, place in enumerate(places.tolist() if len(ignored) else []):
        rows[row, list(ignored[place])] = False
    return rows
