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
from zeroshot.evaluation.figures import Figure, auroc, bootstrapped
from zeroshot.evaluation.measuring import measure as evaluate
from zeroshot.evaluation.targets import resolve
from zeroshot.metrics import DRAWS, Floats

RECALLS = 11  # levels of recall: 0, 0.1, ..., 1

# Simulated: normal scores 1.5 apart, 200 to 1,000 images, 1 or 4 labels. The figure is higher than
# its true value, by 1 to 3 points on average, and intervals that miss it are nearly all above it.
NO_INTERVAL = (
    "the 11-point mAP has no interval: on few images the best precision at a recall is too high, "
    "and 95 % intervals of a bootstrap contain the true value in 83 to 95 % of simulations only."
)

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
) -> Measured:
    """Measure a classifier on embedded images; the report contains the figure as `metric`.

    Args:
        metric: A metric of table 9 of the paper.
        classifier: A classifier for `data.labels`.
        data: The images and their truth.
        embeddings: The embeddings of `data.images`.
        draws: Number of resamples of the bootstrap intervals.
    """
    right = resolve(data.named, classifier.head)
    report = evaluate(classifier, embeddings, right, images=data.images, draws=draws)
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
        return mean_average_precision_11(scores, right, counted)
    if metric == "top1":
        return report.figures["top1"]
    if metric == "mean_per_class":
        return report.figures["mean_per_label"]
    if metric == "mean_top1_top5":
        assert report.answers is not None
        rank = report.answers.rank
        values = ((rank < 1) + (rank < 5).astype(float)) / 2
        return bootstrapped(lambda weights: metrics.mean(values, weights), len(values), draws=draws)
    if len(classifier.head) != 2:
        raise InputError(f"expected 2 labels for a ROC AUC, got {len(classifier.head)}")
    positive = right == 1
    if positive.all() or not positive.any():
        raise InputError("expected images of both labels for a ROC AUC, got one label only")
    logits = classifier.head.logits(embeddings.rows).cpu().double().numpy()
    return auroc(logits[:, 1] - logits[:, 0], positive, draws=draws)


def average_precision_11(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """Return the mean of the best precision at a recall of at least 0, 0.1, ..., 1.

    Images with equal scores are one step of the curve. NaN where no image has the label.
    Source: The PASCAL Visual Object Classes Challenge 2007 development kit, section 3.4.1.

    Args:
        scores: Score of the label for each image: [n].
        truth: Whether the label is in the image: bool [n].
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = -scores[order], truth[order]  # ascending
    if not hits.any():
        return np.nan
    own = np.flatnonzero(hits)
    ends = np.searchsorted(ranked, ranked[own], side="right")  # images down to the same score
    found = hits.cumsum()[ends - 1]
    best = np.maximum.accumulate((found / ends)[::-1])[::-1]
    # whole numbers: 0.3 and 3 / 10 differ in floating point
    levels = [np.searchsorted(found * (RECALLS - 1), level * len(own)) for level in range(RECALLS)]
    return float(best[levels].mean())


def mean_average_precision_11(
    scores: Floats, truth: NDArray[np.bool_], counted: NDArray[np.bool_] | None = None
) -> Figure:
    """Return the mean over labels of `average_precision_11`; arrays are [n, L].

    `counted` is false where an image does not count for a label. The scores are probabilities: the
    paper does not say by what it ranks the images of a class.

    The figure has no interval: `NO_INTERVAL` says why.
    """
    rows = np.ones(truth.shape, bool) if counted is None else counted
    each = [
        average_precision_11(scores[rows[:, n], n], truth[rows[:, n], n])
        for n in np.flatnonzero((truth & rows).any(axis=0))
    ]
    return Figure(float(np.mean(each)) if each else np.nan)


def _counted(
    ignored: Sequence[Sequence[int]], shape: tuple[int, ...], places: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which images count for which label, in the order of the embeddings: bool [m, L]."""
    rows = np.ones(shape, bool)
    for row, place in enumerate(places.tolist() if len(ignored) else []):
        rows[row, list(ignored[place])] = False
    return rows
