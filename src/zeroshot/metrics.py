"""Measure a classifier: accuracy, calibration, ranking of confidences, and intervals.

Everything is numpy. Figures of images take `weights` [..., n], how often each image counts, and
return one value per leading index; `bootstrap` uses that to compute thousands of resamples at once.
A figure that no image contributes to is NaN. Functions raise InputError for NaN, for an index of no
label, and for arrays of different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zeroshot.arguments import count as integer
from zeroshot.arguments import share
from zeroshot.array_arguments import at_least_one, columns, flags, numbers
from zeroshot.array_arguments import probabilities as in_unit_interval
from zeroshot.errors import InputError

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]  # weights [draws, n] -> values [draws, ...]

BINS = 15  # most bins of the calibration error
PER_BIN = 20  # images per bin, as long as there are at least FEWEST_BINS
FEWEST_BINS = 5
DRAWS = 2000  # resamples of an interval
CHUNK = 2_000_000  # weights computed at once; 16 MB


def softmax(logits: ArrayLike) -> Floats:
    """Convert logits [..., L] to probabilities that sum to 1: float64 [..., L].

    Labels with a logit of minus infinity have probability 0. Raises InputError for NaN and plus
    infinity, and for rows without a finite logit.
    """
    z = numbers("logits", logits, None, allow_infinite=True)
    if not z.ndim or not z.shape[-1]:
        raise InputError(
            f"expected logits [..., L] of at least one label, got shape {z.shape}; check the array"
        )
    top = z.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        raise InputError(
            "expected a finite logit in each row and none of plus infinity, got others; check the "
            "model's logits"
        )
    powers = np.exp(z - top)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


# accuracy


def is_in_top(scores: ArrayLike, truth: ArrayLike, k: int = 1) -> NDArray[np.bool_]:
    """Return whether the right label is among the k best, for each image: bool [n].

    Args:
        scores: [n, L], larger is better. Of equal scores, the first label is better.
        truth: Index of the right label of each image: int [n].
        k: Number of labels.

    Returns:
        bool [n].

    Example:
        >>> zeroshot.metrics.is_in_top([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], [1, 1]).tolist()
        [True, False]
    """
    values = numbers("scores", scores, 2, allow_infinite=True)
    right = columns("truth", truth, values.shape[1], like=("scores", len(values)))
    k = integer("k", k, 1)
    own = values[np.arange(len(values)), right][:, None]
    before = np.arange(values.shape[1]) < right[:, None]
    better = (values > own) | ((values == own) & before)
    return np.asarray(better.sum(axis=1) < k)


def mean(values: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the mean of one value per image, such as whether it is right.

    Args:
        values: [n].
        weights: [..., n], or None.

    Returns:
        float64 [...].

    Example:
        >>> float(zeroshot.metrics.mean([True, False, True, True]))
        0.75
    """
    given = numbers("values", values)
    counts = _weights(weights, len(given))
    return _divide(counts @ given, counts.sum(axis=-1))


def mean_per_label(right: ArrayLike, truth: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the accuracy averaged over labels, so that each label counts the same.

    Labels without an image do not count.

    Args:
        right: Whether the answer is right, for each image: bool [n].
        truth: Index of the right label of each image: int [n].
        weights: [..., n], or None.

    Returns:
        float64 [...].

    Example:
        >>> float(zeroshot.metrics.mean_per_label([True, True, True, False], [0, 0, 0, 1]))
        0.5
    """
    answers = flags("right", right)
    labels = columns("truth", truth, like=("right", len(answers)))
    counts = _weights(weights, len(answers))
    if not len(answers):
        return np.full(counts.shape[:-1], np.nan)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=labels[order][0] - 1))
    sorted_counts = counts[..., order]
    total = np.add.reduceat(sorted_counts, starts, axis=-1)
    hits = np.add.reduceat(sorted_counts * answers[order], starts, axis=-1)
    present = total > 0
    rates = np.divide(hits, total, out=np.zeros_like(hits), where=present)
    return _divide(rates.sum(axis=-1), present.sum(axis=-1))


def confusion(predicted: ArrayLike, truth: ArrayLike, labels: int) -> NDArray[np.int64]:
    """Count the images of each right label (row) by the answer (column): int [labels, labels].

    Args:
        predicted: Index of the answer for each image: int [n].
        truth: Index of the right label of each image: int [n].
        labels: Number of labels.

    Returns:
        int64 [labels, labels].

    Example:
        >>> zeroshot.metrics.confusion([0, 1, 1], [0, 0, 1], labels=2).tolist()
        [[1, 1], [0, 1]]
    """
    labels = integer("labels", labels, 1)
    rows = columns("truth", truth, labels)
    answers = columns("predicted", predicted, labels, like=("truth", len(rows)))
    counts = np.bincount(rows * labels + answers, minlength=labels * labels)
    return counts.reshape(labels, labels)


def average_precision(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the average precision of one label: the area under its precision-recall curve.

    Images with equal scores are one step of the curve. NaN if the label is in no image.

    Args:
        scores: Score of the label for each image: [n].
        truth: Whether the label is in the image: bool [n].

    Returns:
        A number in 0..1.

    Example:
        >>> zeroshot.metrics.average_precision([0.9, 0.8, 0.3], [True, False, True])
        0.8333333333333333
    """
    values = numbers("scores", scores, allow_infinite=True)
    positive = flags("truth", truth, like=("scores", len(values)))
    if not positive.any():
        return float("nan")
    order = np.argsort(-values, kind="stable")
    ends = _group_ends(values[order])
    found = positive[order].cumsum()[ends]
    precision = found / (ends + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / positive.sum())


def mean_average_precision(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean over labels of `average_precision`; labels in no image do not count.

    Args:
        scores: [n, L].
        truth: Which labels are in each image: bool [n, L].

    Returns:
        A number in 0..1.

    Example:
        >>> zeroshot.metrics.mean_average_precision([[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0, 1]])
        1.0
    """
    values = numbers("scores", scores, 2, allow_infinite=True)
    positive = flags("truth", truth, 2, like=("scores", len(values)))
    if positive.shape != values.shape:
        raise InputError(
            f"expected scores and truth of one shape, got {values.shape} and {positive.shape}; "
            "pass one column per label in each"
        )
    each = [average_precision(values[:, i], positive[:, i]) for i in range(values.shape[1])]
    known = [value for value in each if value == value]
    return float(np.mean(known)) if known else float("nan")


# calibration


def calibration_bins(images: int) -> int:
    """Return the number of bins for the calibration error of that many images."""
    return max(FEWEST_BINS, min(BINS, integer("images", images, 0) // PER_BIN))


def calibration_error(
    confidence: ArrayLike,
    right: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int | None = None,
    equal_width: bool = False,
) -> Floats:
    """Return the expected calibration error: mean distance of confidence and accuracy over bins.

    Bins have equal numbers of images, sorted by confidence (adaptive ECE). Read it together with
    `calibration_floor`: with few images, a perfectly calibrated model has an error too.

    Args:
        confidence: Probability of the answer for each image: [n], 0..1.
        right: Whether the answer is right: bool [n].
        weights: [..., n], or None.
        bins: Number of bins; by default `calibration_bins(n)`.
        equal_width: Divide 0..1 into bins of equal width instead, as other libraries do.

    Returns:
        float64 [...].

    Example:
        >>> float(zeroshot.metrics.calibration_error([0.9, 0.9, 0.1], [True, True, False]))
        0.1
    """
    sure = in_unit_interval("confidence", confidence)
    answers = flags("right", right, like=("confidence", len(sure)))
    counts = _weights(weights, len(sure))
    number = calibration_bins(len(sure)) if bins is None else integer("bins", bins, 1)
    order = np.argsort(sure, kind="stable")
    sure, answers, counts = sure[order], answers[order], counts[..., order]
    total = counts.sum(axis=-1)
    if equal_width:
        places = np.broadcast_to(np.ceil(sure * number) - 1, counts.shape)
    else:
        places = number * _divide(counts.cumsum(axis=-1) - counts / 2, total[..., None])
    which = np.clip(np.nan_to_num(places), 0, number - 1).astype(np.int64)
    gaps = _sum_bins(counts * (sure - answers), which, number)
    return _divide(np.abs(gaps).sum(axis=-1), total)


def calibration_floor(
    confidence: ArrayLike, *, bins: int | None = None, draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Return the calibration error that chance alone gives: its mean and 95th percentile.

    These are the errors of a perfectly calibrated model with these confidences. A measured error
    below the percentile is no evidence of wrong probabilities.

    Args:
        confidence: Probability of the answer for each image: [n], 0..1.
        bins: Number of bins, as in `calibration_error`.
        draws: Number of simulations.
        seed: Seed of the random numbers.

    Returns:
        The mean and the 95th percentile.

    Example:
        >>> mean, high = zeroshot.metrics.calibration_floor([0.7] * 100)
        >>> round(mean, 2)
        0.08
    """
    sure = in_unit_interval("confidence", confidence)
    at_least_one("confidence", sure)
    random = np.random.default_rng(integer("seed", seed, 0))
    draws = integer("draws", draws, 1)
    found = [
        float(calibration_error(sure, random.random(len(sure)) < sure, bins=bins))
        for _ in range(draws)
    ]
    return float(np.mean(found)), float(np.quantile(found, 0.95))


def brier_score(probabilities: ArrayLike, truth: ArrayLike) -> Floats:
    """Return the squared error of each image's probabilities, summed over labels: float64 [n].

    Args:
        probabilities: [n, L], rows sum to 1.
        truth: Index of the right label of each image: int [n].

    Returns:
        float64 [n], 0 (best) to 2; `mean` gives the Brier score.

    Example:
        >>> zeroshot.metrics.brier_score([[0.5, 0.5]], [0]).tolist()
        [0.5]
    """
    p, right = _with_truth(probabilities, truth)
    own = p[np.arange(len(p)), right]
    return np.asarray((p**2).sum(axis=1) - 2 * own + 1)


def log_loss(probabilities: ArrayLike, truth: ArrayLike) -> Floats:
    """Return the negative log-likelihood of each image's right label: float64 [n].

    Args:
        probabilities: [n, L], rows sum to 1.
        truth: Index of the right label of each image: int [n].

    Returns:
        float64 [n], in nats; a probability of 0 counts as the smallest positive number.

    Example:
        >>> zeroshot.metrics.log_loss([[0.5, 0.5]], [0]).round(3).tolist()
        [0.693]
    """
    p, right = _with_truth(probabilities, truth)
    return np.asarray(-np.log(np.maximum(p[np.arange(len(p)), right], np.finfo(np.float64).tiny)))


# rankings of confidence


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    """Return the share of answered images and the share of wrong answers, for each threshold.

    Args:
        confidence: [n], larger is surer.
        right: Whether the answer is right: bool [n].

    Returns:
        coverage [t] and risk [t], from the strictest threshold to answering everything.

    Example:
        >>> coverage, risk = zeroshot.metrics.risk_coverage([0.9, 0.6], [True, False])
        >>> coverage.tolist(), risk.tolist()
        ([0.5, 1.0], [0.0, 0.5])
    """
    sure = numbers("confidence", confidence, allow_infinite=True)
    answers = flags("right", right, like=("confidence", len(sure)))
    order = np.argsort(-sure, kind="stable")
    ends = _group_ends(sure[order])
    answered = ends + 1
    wrong = (1 - answers[order]).cumsum()[ends]
    return answered / max(len(sure), 1), wrong / answered


def area_under_risk(
    confidence: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """Return the area under the risk-coverage curve (AURC); lower is better.

    Source: Geifman, Uziel and El-Yaniv 2018, arXiv 1805.08206.

    Args:
        confidence: [n], larger is surer.
        right: Whether the answer is right: bool [n].
        weights: [..., n], or None.

    Returns:
        float64 [...].

    Example:
        >>> float(zeroshot.metrics.area_under_risk([0.9, 0.6], [True, False]))
        0.25
    """
    sure = numbers("confidence", confidence, allow_infinite=True)
    answers = flags("right", right, like=("confidence", len(sure)))
    counts = _weights(weights, len(sure))
    if not len(sure):
        return np.full(counts.shape[:-1], np.nan)
    order = np.argsort(-sure, kind="stable")
    ends = _group_ends(sure[order])
    counts = counts[..., order]
    answered = counts.cumsum(axis=-1)[..., ends]
    wrong = (counts * (1 - answers[order])).cumsum(axis=-1)[..., ends]
    risk = np.divide(wrong, answered, out=np.zeros_like(wrong), where=answered > 0)
    steps = np.diff(answered, prepend=0, axis=-1)
    return _divide((steps * risk).sum(axis=-1), answered[..., -1])


def auroc(positive: ArrayLike, negative: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the probability that a positive has a higher score than a negative; ties count half.

    Args:
        positive: Scores of the images that should score high: [n].
        negative: Scores of the others: [m].
        weights: [..., n + m], those of the positives first, or None.

    Returns:
        float64 [...], 0..1; NaN without positives or negatives.

    Example:
        >>> float(zeroshot.metrics.auroc([0.9, 0.4], [0.1, 0.4]))
        0.875
    """
    high = numbers("positive", positive, allow_infinite=True)
    low = numbers("negative", negative, allow_infinite=True)
    counts = _weights(weights, len(high) + len(low))
    if not len(high) or not len(low):
        return np.full(counts.shape[:-1], np.nan)
    order = np.argsort(low, kind="stable")
    below = counts[..., len(high) :][..., order].cumsum(axis=-1)
    below = np.concatenate([np.zeros_like(below[..., :1]), below], axis=-1)
    places = (np.searchsorted(low[order], high, side) for side in ("left", "right"))
    wins = sum(below[..., place] for place in places)
    own = counts[..., : len(high)]
    return _divide((own * wins).sum(axis=-1), 2 * own.sum(axis=-1) * below[..., -1])


# intervals


def wilson_interval(count: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for a proportion.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Args:
        count: Number of successes.
        of: Number of trials, at least 1.
        confidence: Probability that such an interval contains the true proportion.

    Returns:
        The lower and the upper bound.

    Example:
        >>> low, high = zeroshot.metrics.wilson_interval(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
    """
    of = integer("of", of, 1)
    count = integer("count", count, 0, most=of)
    z = NormalDist().inv_cdf((1 + share("confidence", confidence)) / 2)
    rate, spread = count / of, z * z / of
    center = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(rate * (1 - rate) / of + spread / (4 * of))
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def bootstrap(
    statistic: Statistic,
    images: int,
    *,
    draws: int = DRAWS,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Return the percentile interval of a figure, over resamples of the images.

    For the difference of two classifiers on the same images, return the difference of their
    figures from `statistic`: both then see the same resample, which is a paired interval.

    Args:
        statistic: Function from weights [draws, n] to values [draws, ...].
        images: Number of images n.
        draws: Number of resamples.
        confidence: Probability of the interval.
        seed: Seed of the random numbers.

    Returns:
        The lower and the upper bound, each of the shape of one value.

    Example:
        >>> right = [True] * 80 + [False] * 20
        >>> low, high = zeroshot.metrics.bootstrap(
        ...     lambda weights: zeroshot.metrics.mean(right, weights), 100
        ... )
        >>> round(float(low), 2), round(float(high), 2)
        (0.72, 0.87)
    """
    images, draws = integer("images", images, 1), integer("draws", draws, 1)
    tail = (1 - share("confidence", confidence)) / 2
    seed = integer("seed", seed, 0)
    values = np.concatenate([statistic(part) for part in _resamples(images, draws, seed)])
    low, high = np.nanquantile(values, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def _resamples(images: int, draws: int, seed: int) -> Iterator[Floats]:
    """Yield weights [part, n]: how often each image occurs in a resample with replacement."""
    random = np.random.default_rng(seed)
    size = max(1, CHUNK // max(images, 1))
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        chosen = random.integers(0, images, (rows, images))
        chosen += np.arange(rows)[:, None] * images
        counts = np.bincount(chosen.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.float64)


def _weights(weights: ArrayLike | None, images: int) -> Floats:
    if weights is None:
        return np.ones(images)
    given = np.asarray(weights, np.float64)
    if not given.ndim or given.shape[-1] != images:
        raise InputError(
            f"expected weights [..., {images}], one per image, got shape {given.shape}; check them"
        )
    return given


def _with_truth(probabilities: ArrayLike, truth: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """Return probabilities [n, L] and the index of the right label of each image [n]."""
    p = in_unit_interval("probabilities", probabilities, 2)
    return p, columns("truth", truth, p.shape[1], like=("probabilities", len(p)))


def _divide(numerator: Any, denominator: Any) -> Floats:
    """Divide; 0 / 0 is NaN without a warning."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.divide(numerator, denominator), np.float64)


def _group_ends(values: Floats) -> NDArray[np.int64]:
    """Return the index of the last of each run of equal values."""
    return np.flatnonzero(np.append(values[1:] != values[:-1], True)[: len(values)])


def _sum_bins(values: Floats, which: NDArray[np.int64], bins: int) -> Floats:
    """Sum values [..., n] by bin: [..., bins]."""
    rows = int(np.prod(values.shape[:-1]))
    flat = which.reshape(rows, -1) + bins * np.arange(rows)[:, None]
    sums = np.bincount(flat.ravel(), values.ravel(), minlength=rows * bins).astype(np.float64)
    return sums.reshape(*values.shape[:-1], bins)
