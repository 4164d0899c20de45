"""Make scores mean something: temperature, prediction sets and thresholds with a promise.

Everything is numpy and works on plain scores. A promise holds for images like those it was
calibrated with; `has_shifted` notices when new images look different.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zeroshot.arguments import count, one_of, share
from zeroshot.array_arguments import at_least_one, columns, flags, numbers
from zeroshot.array_arguments import probabilities as in_unit_interval
from zeroshot.errors import InputError
from zeroshot.metrics import softmax

Floats = NDArray[np.float64]
SetScore = Literal["lac", "aps", "raps"]

SET_SCORES: tuple[SetScore, ...] = get_args(SetScore)
PRIOR = 0.5  # standard deviation of the logarithm of the inverse temperature, around 0
NONE_PRIOR = 4.0  # standard deviation of the offset of "none of these", around 0
STEPS = 60  # of Newton's method; it needs about 6
GRID = 12  # thresholds tried for an error rate; each try costs a little of the confidence
FEWEST, FEW = 20, 50  # calibration images: below the first an error, below the second a warning
GOOD = 100  # calibration images or more are better; a promised error rate needs 100 to 300
SHIFT = 0.001  # probability of a false shift alarm
RAPS_PENALTY, RAPS_FREE = 0.01, 5  # per label, and the number of labels without one
LARGEST = 500.0  # of a logit, so that its exponential is finite
TINY = 1e-12  # rounding of a rank such as (99 + 1) * 0.95


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration images showed: kept with a head, so that thresholds can be asked for later.

    Args:
        truth: Label of each image, as an index, or -1 for none of the labels: int [n].
        surety: Probability of the best label: float64 [n].
        right: Whether the best label is the right one: bool [n].
        scores: For each kind of set, the score of the right label: float64 [n]; NaN without one.
        inverse_temperature: Factor for logits that was fitted.
        method: "images", or "leave-one-out" if the images also made the head.
        labels: Digest of the labels that the calibration is valid for.
        has_words: Whether the head has background words, so that an image can be none of these.
    """

    truth: NDArray[np.int64]
    surety: Floats
    right: NDArray[np.bool_]
    scores: Mapping[str, Floats]
    inverse_temperature: float
    method: str
    labels: str
    has_words: bool = False

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which images show one of the labels: bool [n]."""
        return self.truth >= 0

    @property
    def accuracy(self) -> float:
        """Share of the images that show a label whose best label is right: 0..1; 0 for none."""
        return float(self.right[self.known].mean()) if self.known.any() else 0.0

    def __str__(self) -> str:
        total, known = len(self.truth), int(self.known.sum())
        others = f", {total - known} of them none of the labels" if known < total else ""
        text = (
            f"Calibrated on {total} images{others}: inverse temperature "
            f"{self.inverse_temperature:.2f}. With {known} images that show a label, the true "
            f"coverage of sets with coverage=0.9 {self._describe_coverage(known, 0.9)}."
        )
        if self.has_words and known == total:
            text += " No image of none of the labels was given, so the score of none says nothing."
        return text

    def _describe_coverage(self, known: int, coverage: float) -> str:
        if known < images_for(coverage):
            return f"is unknown; they need {images_for(coverage)}"
        low, high = coverage_interval(known, coverage)
        if self.accuracy > coverage:
            return (
                f"is {low:.0%} or more in 9 of 10 calibrations; it is probably higher than "
                f"{coverage:.0%} here, because a set always contains the best label"
            )
        return f"lies between {low:.0%} and {high:.0%} in 9 of 10 calibrations"


def to_plain(calibration: Calibration) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the facts and the arrays of a calibration, to be written to a file."""
    arrays: dict[str, NDArray[Any]] = {
        "calibration.truth": calibration.truth,
        "calibration.surety": calibration.surety,
        "calibration.right": calibration.right,
    }
    arrays |= {f"calibration.scores.{kind}": calibration.scores[kind] for kind in SET_SCORES}
    facts = {
        "inverse_temperature": calibration.inverse_temperature,
        "method": calibration.method,
        "labels": calibration.labels,
        "has_words": calibration.has_words,
    }
    return facts, arrays


def from_plain(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Calibration:
    """Return the calibration that `to_plain` took apart.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    truth = arrays["calibration.truth"].astype(np.int64)
    found = Calibration(
        truth=truth,
        surety=arrays["calibration.surety"].astype(np.float64),
        right=arrays["calibration.right"].astype(np.bool_),
        scores={
            kind: arrays[f"calibration.scores.{kind}"].astype(np.float64) for kind in SET_SCORES
        },
        inverse_temperature=float(facts["inverse_temperature"]),
        method=str(facts["method"]),
        labels=str(facts["labels"]),
        has_words=bool(facts["has_words"]),
    )
    return found


def calibration_problems(
    calibration: Calibration, labels: int
) -> Iterator[tuple[str, object, str]]:
    """Yield the arrays of a calibration with wrong values, what they are and what is expected."""
    truth = calibration.truth
    arrays = {"surety": calibration.surety, "right": calibration.right}
    arrays |= {f"scores.{kind}": values for kind, values in calibration.scores.items()}
    if truth.ndim != 1:
        yield "truth", f"shape {truth.shape}", "of shape [n]"
    for name, values in arrays.items():
        if values.shape != truth.shape:
            yield name, f"shape {values.shape}", f"of shape {truth.shape}, as its truth"
    if ((truth < -1) | (truth >= labels)).any():
        yield "truth", f"{truth.min()} to {truth.max()}", f"within -1..{labels - 1}"
    if not ((calibration.surety >= 0) & (calibration.surety <= 1)).all():  # false for NaN too
        yield "surety", "other values", "within 0..1"
    for kind, values in calibration.scores.items():
        if values.shape == truth.shape and not np.isfinite(values[truth >= 0]).all():
            yield f"scores.{kind}", "NaN or infinity", "finite for images that show a label"


# temperature


def fit_inverse_temperature(
    logits: ArrayLike, truth: ArrayLike, prior: float | None = PRIOR
) -> float:
    """Return the factor for logits that makes their softmax most probable.

    A weak prior keeps it finite when every image is right and close to 1 for few images. Source:
    Guo et al. 2017, arXiv 1706.04599, with a prior on the logarithm.

    Args:
        logits: [n, L].
        truth: Index of the right label of each image: int [n].
        prior: Standard deviation of the logarithm of the factor, or None for maximum likelihood.

    Returns:
        The inverse temperature, a positive number.

    Example:
        >>> zeroshot.calibration.fit_inverse_temperature([[1.0, 0.0], [0.0, 1.0]], [0, 1]) > 1
        True
    """
    z = numbers("logits", logits, 2)
    right = columns("truth", truth, z.shape[1], like=("logits", len(z)))
    _check_positive("prior", prior)
    if prior is None:
        at_least_one("logits", z)
    own = z[np.arange(len(z)), right]
    weight = 0.0 if prior is None else 1 / prior**2

    def loss(log_factor: float) -> float:
        scaled = math.exp(log_factor) * z
        top = scaled.max(axis=1)
        normalizers = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        fit = (normalizers - math.exp(log_factor) * own).sum()
        return float(fit) + weight * log_factor**2 / 2

    log_factor = 0.0
    value = loss(log_factor)
    for _ in range(STEPS):
        factor = math.exp(log_factor)
        p = softmax(factor * z)
        expected = (p * z).sum(axis=1)
        slope = factor * (expected - own).sum() + weight * log_factor
        spread = ((p * z * z).sum(axis=1) - expected**2).sum()
        curvature = factor**2 * spread + max(factor * (expected - own).sum(), 0.0) + weight
        step = float(np.clip(-slope / max(curvature, TINY), -1, 1))
        while (new := loss(log_factor + step)) > value and abs(step) > TINY:
            step /= 2
        if new > value or abs(log_factor + step) > math.log(1000):
            break
        log_factor, gain, value = log_factor + step, value - new, new
        if gain < TINY * max(1.0, abs(value)) and abs(step) < 1e-9:
            break
    return math.exp(log_factor)


def fit_none_offset(
    labels: ArrayLike, none: ArrayLike, truth: ArrayLike, prior: float = NONE_PRIOR
) -> float:
    """Return the offset of the logit of "none of these" that makes the right classes most probable.

    The classes are the labels and "none of these". The number of words in the sum of that logit,
    and the share of images of none of the labels, make the offset necessary. A weak prior keeps it
    finite if all images show a label, or none does.

    Args:
        labels: Logits of the labels, after the temperature: [n, L].
        none: Logit of "none of these", after the temperature: [n].
        truth: Index of the right label of each image, or -1 for none of these: int [n].
        prior: Standard deviation of the offset, around 0.

    Returns:
        The offset.

    Raises:
        InputError: The arrays have different lengths, or the prior is not positive.

    Example:
        >>> round(zeroshot.calibration.fit_none_offset([[0.0]] * 100, [3.0] * 100, [0, -1] * 50), 1)
        -3.0
    """
    z = numbers("labels", labels, 2)
    other = numbers("none", none, like=("labels", len(z)))
    right = numbers("truth", truth, like=("labels", len(z)))
    _check_positive("prior", 0 if prior is None else prior)
    if not z.size:
        return 0.0
    top = z.max(axis=1)
    gap = other - top - np.log(np.exp(z - top[:, None]).sum(axis=1))
    unknown = int((right < 0).sum())

    def slope(offset: float) -> float:  # of the loss, which is convex
        chance = 1 / (1 + np.exp(-np.clip(gap + offset, -LARGEST, LARGEST)))
        return float(chance.sum()) - unknown + offset / prior**2

    most = len(z) * prior**2  # the prior outweighs all images there
    share = _bisect(lambda place: slope(most * (2 * place - 1)) >= 0)
    return most * (2 * share - 1)


def fit_logistic(scores: ArrayLike, right: ArrayLike, ridge: float = 1.0) -> tuple[float, float]:
    """Return the factor and the offset that make sigmoid(factor * score + offset) most probable.

    A weak prior keeps them near 1 and 0 for few images. It is on the factor, and 100 times weaker
    on the value at the mean score.

    Args:
        scores: [n].
        right: bool [n].
        ridge: Strength of the prior.

    Returns:
        The factor and the offset.

    Example:
        >>> factor, offset = zeroshot.calibration.fit_logistic([3.0] * 50, [True, False] * 25)
        >>> abs(3 * factor + offset) < 0.2
        True
    """
    x = numbers("scores", scores)
    y = flags("right", right, like=("scores", len(x)))
    _check_positive("ridge", ridge)
    middle = float(x.mean()) if len(x) else 0.0
    features = np.stack([x - middle, np.ones_like(x)], axis=1)
    prior, strength = np.array([1.0, middle]), ridge * np.array([1.0, 0.01])
    weights = prior.copy()

    def loss(tried: Floats) -> float:
        z = features @ tried
        return float(
            (np.logaddexp(0, z) - y * z).sum() + (strength * (tried - prior) ** 2).sum() / 2
        )

    value = loss(weights)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(features @ weights, -LARGEST, LARGEST)))
        slope = features.T @ (p - y) + strength * (weights - prior)
        curvature = (features * (p * (1 - p))[:, None]).T @ features + np.diag(strength)
        step = np.linalg.solve(curvature, slope)
        while (new := loss(weights - step)) > value and np.abs(step).max() > TINY:
            step /= 2  # where sigmoids are flat, a full step goes too far
        if new > value:
            break
        weights, value = weights - step, new
        if np.abs(step).max() < 1e-9:
            break
    return float(weights[0]), float(weights[1] - weights[0] * middle)


# prediction sets


def score_labels(
    probabilities: ArrayLike, score: SetScore = "lac", shares: ArrayLike | None = None
) -> Floats:
    """Return how badly each label fits, from 0; a set contains the labels up to a threshold.

    "lac" is 1 - p (Sadinle et al. 2019, arXiv 1609.00451) and gives the smallest sets. "aps" is the
    probability of the label and all better ones (Romano et al. 2020, arXiv 2006.02544), "raps" adds
    a penalty to labels after the fifth (Angelopoulos et al. 2021, arXiv 2009.14193).

    Args:
        probabilities: [n, L], rows sum to 1.
        score: "lac", "aps" or "raps".
        shares: Random numbers in 0..1 [n], which make the sets of "aps" and "raps" smaller: the
            part of its own probability that counts for a label. None counts all of it.

    Returns:
        float64 [n, L].

    Example:
        >>> zeroshot.calibration.score_labels([[0.75, 0.25]]).tolist()
        [[0.25, 0.75]]
    """
    p = in_unit_interval("probabilities", probabilities, 2)
    one_of("score", score, SET_SCORES)
    if score == "lac":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    best = np.take_along_axis(p, order, axis=1)
    own: float | Floats = 1.0
    if shares is not None:
        own = in_unit_interval("shares", shares, like=("probabilities", len(p)))[:, None]
    values = best.cumsum(axis=1) - best + own * best
    if score == "raps":
        values += RAPS_PENALTY * np.maximum(0, np.arange(1, p.shape[1] + 1) - RAPS_FREE)
    result = np.empty_like(values)
    np.put_along_axis(result, order, values, axis=1)
    return result


def conformal_rank(images: int, coverage: float, confidence: float | None = None) -> int:
    """Return which of n sorted scores is the threshold of a set: 1..n, or n + 1 for all labels.

    Without `confidence`, sets contain the right label with probability `coverage`, on average over
    calibrations (split conformal prediction). With it, the coverage of this calibration is at least
    that with probability `confidence` (Vovk 2012, arXiv 1209.2673).

    Args:
        images: Number of calibration images.
        coverage: 0..1.
        confidence: 0..1, or None.

    Returns:
        The rank.

    Example:
        >>> zeroshot.calibration.conformal_rank(99, 0.9)
        90
    """
    images, coverage = count("images", images, 0), share("coverage", coverage)
    if confidence is None:
        return min(images + 1, math.ceil((images + 1) * coverage - TINY))
    share("confidence", confidence)
    for rank in range(1, images + 1):
        if binomial_cdf(rank - 1, images, coverage) >= confidence:
            return rank
    return images + 1


def images_for(coverage: float) -> int:
    """Return the least number of calibration images for a coverage below 1.

    Example:
        >>> zeroshot.calibration.images_for(0.95)
        19
    """
    coverage = share("coverage", coverage)
    return math.ceil(coverage / (1 - coverage) - TINY * 1000)


def set_threshold(scores: ArrayLike, coverage: float, confidence: float | None = None) -> float:
    """Return the score up to which labels are in a set; infinity includes all labels.

    Args:
        scores: Score of the right label of each calibration image: [n].
        coverage: Share of sets that contain the right label, 0..1.
        confidence: As in `conformal_rank`.

    Returns:
        The threshold.

    Example:
        >>> zeroshot.calibration.set_threshold([0.1, 0.2, 0.3, 0.4], 0.75)
        0.4
    """
    ordered = np.sort(numbers("scores", scores, allow_infinite=True))
    rank = conformal_rank(len(ordered), coverage, confidence)
    return math.inf if rank > len(ordered) else float(ordered[max(rank, 1) - 1])


def coverage_interval(images: int, coverage: float, confidence: float = 0.9) -> tuple[float, float]:
    """Return between which values the coverage of one calibration lies.

    The coverage of `conformal_rank` k of n images has the Beta(k, n + 1 - k) distribution.

    Args:
        images: Number of calibration images.
        coverage: 0..1.
        confidence: Probability of the interval.

    Returns:
        The lower and the upper bound, 0..1.

    Example:
        >>> low, high = zeroshot.calibration.coverage_interval(100, 0.9)
        >>> round(low, 2), round(high, 2)
        (0.85, 0.95)
    """
    share("confidence", confidence)
    rank = conformal_rank(images, coverage)
    if rank > images:
        return 1.0, 1.0
    tail = (1 - confidence) / 2
    return _beta_quantile(rank, images, tail), _beta_quantile(rank, images, 1 - tail)


# thresholds


def keep_threshold(surety: ArrayLike, keep: float) -> float:
    """Return the surety from which to answer, so that known images are rarely turned away.

    At most 1 - keep of images that show one of the labels are turned away, on average over
    calibrations.

    Args:
        surety: Probability of the best label for images that show one of the labels: [n].
        keep: Share of such images to answer, 0..1.

    Returns:
        The threshold; minus infinity if n is too small to turn any image away.

    Example:
        >>> zeroshot.calibration.keep_threshold([0.2, 0.4, 0.6, 0.8], 0.8)
        0.2
    """
    ordered = np.sort(numbers("surety", surety, allow_infinite=True))
    rank = math.floor((1 - share("keep", keep)) * (len(ordered) + 1) + TINY)
    return -math.inf if rank < 1 else float(ordered[rank - 1])


def error_threshold(
    surety: ArrayLike, right: ArrayLike, error: float, confidence: float = 0.9
) -> float | None:
    """Return the surety from which to answer, so that few answers are wrong.

    With probability `confidence` over calibrations, at most `error` of the answers are wrong.
    Thresholds are tested from strict to lax until one fails, so no correction for several tests is
    needed (fixed-sequence testing: Angelopoulos et al. 2021, arXiv 2110.01052).

    Args:
        surety: Probability of the best label: [n].
        right: Whether the best label is right: bool [n].
        error: Share of wrong answers, 0..1.
        confidence: Probability that the promise holds.

    Returns:
        The threshold, or None if these images cannot show such an error.

    Example:
        >>> surety = [i / 100 for i in range(100)]
        >>> zeroshot.calibration.error_threshold(surety, [s > 0.3 for s in surety], 0.1) < 0.4
        True
    """
    sure = numbers("surety", surety, allow_infinite=True)
    answers = flags("right", right, like=("surety", len(sure))) == 1
    order = np.argsort(-sure, kind="stable")
    wrong = (~answers[order]).cumsum()
    least = answers_for(error, confidence)
    found: float | None = None
    for rank in _grid(least, len(sure)):
        threshold = sure[order][rank - 1]
        count = int((sure >= threshold).sum())  # images with equal surety are answered together
        if upper_bound(int(wrong[count - 1]), count, confidence) > error:
            break
        found = float(threshold)
    return found


def answers_for(error: float, confidence: float = 0.9) -> int:
    """Return how many right answers in a row show that at most `error` of answers are wrong.

    Example:
        >>> zeroshot.calibration.answers_for(0.1)
        22
    """
    needed = math.log(1 - share("confidence", confidence)) / math.log(1 - share("error", error))
    return math.ceil(needed - TINY)


def lowest_error(surety: ArrayLike, right: ArrayLike, confidence: float = 0.9) -> float:
    """Return about the lowest error for which `error_threshold` finds a threshold: 0..1.

    Args:
        surety: Probability of the best label: [n].
        right: Whether the best label is right: bool [n].
        confidence: As in `error_threshold`.

    Returns:
        The error, a multiple of 0.01; 1 if there is none.

    Example:
        >>> zeroshot.calibration.lowest_error([0.9] * 30, [True] * 30)
        0.08
    """
    for percent in range(1, 100):
        if error_threshold(surety, right, percent / 100, confidence) is not None:
            return percent / 100
    return 1.0


def _grid(least: int, images: int) -> list[int]:
    """Return at most GRID ranks from strict to lax."""
    if images < least:
        return []
    return sorted({round(rank) for rank in np.geomspace(least, images, GRID)})


# laws


def binomial_cdf(count: int, of: int, share: float) -> float:
    """Return the probability of at most `count` successes in `of` trials."""
    if count >= of:
        return 1.0
    if count < 0 or share >= 1:
        return 0.0
    if share <= 0:
        return 1.0
    k = np.arange(count + 1)
    logs = _log_choose(of)[: count + 1] + k * math.log(share) + (of - k) * math.log1p(-share)
    return float(min(1.0, np.exp(logs).sum()))


def _beta_quantile(rank: int, images: int, level: float) -> float:
    """Return the quantile of Beta(k, n + 1 - k), which is at most x as often as Bin(n, x) >= k."""
    return _bisect(lambda x: 1 - binomial_cdf(rank - 1, images, x) >= level)


def upper_bound(count: int, of: int, confidence: float) -> float:
    """Return the Clopper-Pearson upper bound of a proportion.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits".
    """
    if count >= of:
        return 1.0
    return _bisect(lambda share: binomial_cdf(count, of, share) <= 1 - confidence)


def has_shifted(calibrated: ArrayLike, new: ArrayLike, level: float = SHIFT) -> bool:
    """Return whether two samples differ, by the two-sample Kolmogorov-Smirnov test.

    Args:
        calibrated: Surety of the calibration images: [n].
        new: Surety of new images: [m].
        level: Probability of a false alarm.

    Returns:
        Whether the new images look different.

    Example:
        >>> zeroshot.calibration.has_shifted([0.9] * 50, [0.3] * 50)
        True
    """
    share("level", level)
    first = np.sort(numbers("calibrated", calibrated, allow_infinite=True))
    second = np.sort(numbers("new", new, allow_infinite=True))
    if not len(first) or not len(second):
        return False
    points = np.concatenate([first, second])
    distance = np.abs(
        np.searchsorted(first, points, side="right") / len(first)
        - np.searchsorted(second, points, side="right") / len(second)
    ).max()
    size = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    # Stephens 1970: the limit law at this argument is accurate for small samples too
    x = (size + 0.12 + 0.11 / size) * distance
    terms = [(-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101)]
    return 2 * sum(terms) < level if x > 0.3 else False


def _check_positive(name: str, value: object) -> None:
    """Raise InputError unless a value is a positive number or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"expected a positive number {name}, got {value!r}; for example {name}=1")


@lru_cache(maxsize=64)
def _log_choose(of: int) -> Floats:
    """Return log(of choose k) for k in 0..of."""
    factorials = np.array([math.lgamma(k + 1) for k in range(of + 1)])
    return np.asarray(factorials[-1] - factorials - factorials[::-1])


def _bisect(reached: Callable[[float], bool]) -> float:
    """Return the smallest share in 0..1 for which a monotonic condition is true."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
