"""Turn embeddings and a head into predictions and sets, and fit a head to images with truth."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from zeroshot.answering import Answering
from zeroshot.arguments import flag, one_of, share
from zeroshot.calibration import (
    Calibration,
    SetScore,
    conformal_rank,
    coverage_interval,
    fit_inverse_temperature,
    fit_logistic,
    has_shifted,
    images_for,
    score_labels,
    set_threshold,
)
from zeroshot.callers import stack_level
from zeroshot.errors import InputError, ShiftWarning, shortened, some
from zeroshot.head import Head
from zeroshot.mixing import logits_without_self, mix
from zeroshot.predictions import Failure, LabelSet, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFT_IMAGES = 50  # first images that are compared with the calibration images
FEWEST, FEW = 20, 50  # calibration images: below the first an error, below the second a warning
EACH = 4  # examples of every label that choosing the weight of the text requires
TEXT_WEIGHTS = (1.0, 2.0, 4.0, 8.0)  # that text="auto" chooses from


# predictions


def rank(
    head: Head,
    rows: Tensor,
    sources: Sequence[str | None] | None = None,
    *,
    top: int,
    answers: Answering | None = None,
) -> list[Prediction]:
    """Return the predictions of embeddings [n, d]; `sources` are those of the images."""
    names = [None] * len(rows) if sources is None else sources
    if head.scoring == "independent":
        return _rank_independent(head, rows, top, names)
    labels, words = head.similarities(rows)
    classes = labels if words is None else torch.cat([labels, head.sum_words(words)], dim=-1)
    probabilities = head.probabilities(classes)
    own = probabilities[:, : len(head.labels)]
    best, which = own.topk(min(top, len(head.labels)), dim=1)
    rankings = [
        tuple((head.labels[column], value) for value, column in zip(*pair, strict=True))
        for pair in zip(best.tolist(), which.tolist(), strict=True)
    ]
    found = [
        Prediction(*ranking[0], ranking, source, path=head.paths[column] if head.paths else None)
        for ranking, column, source in zip(rankings, which[:, 0].tolist(), names, strict=True)
    ]
    if words is not None:
        found = _add_words(head, found, labels, words, probabilities[:, -1], answers)
    if answers is None:
        return found
    if answers.kind == "sure":
        return _back_off(head, found, own, answers.threshold)
    return [
        each if each.probability >= answers.threshold else replace(each, label=None, path=None)
        for each in found
    ]


def _add_words(
    head: Head,
    found: list[Prediction],
    labels: Tensor,
    words: Tensor,
    none: Tensor,
    answers: Answering | None,
) -> list[Prediction]:
    """Add the probability of none, and turn away images that a word fits better."""
    value, word = words.max(dim=1)
    beats = (value > labels.amax(dim=1)).tolist()
    names = [
        head.words.words[index] if beat else None for index, beat in zip(word, beats, strict=True)
    ]
    return [
        replace(
            each,
            none=p,
            instead=name,
            label=None if name is not None and answers is None else each.label,
            path=None if name is not None and answers is None else each.path,
        )
        for each, p, name in zip(found, none.tolist(), names, strict=True)
    ]


def _rank_independent(
    head: Head, rows: Tensor, top: int, sources: Sequence[str | None]
) -> list[Prediction]:
    probabilities = head.probabilities(head.logits(rows))
    best, which = probabilities.topk(min(top, len(head)), dim=1)
    found = []
    for image, (values, columns) in enumerate(zip(best.tolist(), which.tolist(), strict=True)):
        ranking = tuple((head.labels[c], v) for v, c in zip(values, columns, strict=True))
        above = None
        if head.logistic is not None:
            order = probabilities[image].argsort(descending=True).tolist()
            above = tuple(head.labels[c] for c in order if probabilities[image, c] >= 0.5)
        found.append(Prediction(*ranking[0], ranking, sources[image], labels=above))
    return found


def _back_off(
    head: Head, found: list[Prediction], probabilities: Tensor, threshold: float
) -> list[Prediction]:
    """Answer with the finest name of a tree that is sure enough."""
    assert head.paths is not None  # `answering` checks it
    nodes, members = _nodes(head.paths)
    sums = probabilities.cpu() @ members.T  # [n, nodes]
    answered = []
    for each, values in zip(found, sums.tolist(), strict=True):
        sure = [
            (len(node), value, node)
            for node, value in zip(nodes, values, strict=True)
            if value >= threshold
        ]
        if not sure:
            answered.append(replace(each, label=None, path=None))
            continue
        _, value, node = max(sure)
        answered.append(replace(each, label=node[-1], probability=value, path=node))
    return answered


@lru_cache(maxsize=8)
def _nodes(paths: tuple[tuple[str, ...], ...]) -> tuple[list[tuple[str, ...]], Tensor]:
    """Return all nodes of a tree, and which leaves are below each: float32 [nodes, L]."""
    nodes = list(dict.fromkeys(path[:depth] for path in paths for depth in range(1, len(path) + 1)))
    below = [[path[: len(node)] == node for path in paths] for node in nodes]
    return nodes, torch.tensor(below, dtype=torch.float32, device="cpu")


class ShiftAlarm:
    """Warns once if new images look different from the calibration images."""

    def __init__(self, head: Head) -> None:
        self._calibration = head.calibration
        self._surety: list[float] = []
        self._done = head.calibration is None

    def watch(self, predictions: Iterator[Prediction | Failure]) -> Iterator[Prediction | Failure]:
        """Yield predictions, and compare the first ones with the calibration images."""
        for each in predictions:
            if not self._done and isinstance(each, Prediction):
                self._surety.append(each.ranking[0][1])
                if len(self._surety) == SHIFT_IMAGES:
                    self._check()
            yield each
        if len(self._surety) >= FEWEST:
            self._check()

    def _check(self) -> None:
        if self._done or self._calibration is None:
            return
        self._done = True
        if has_shifted(self._calibration.surety, self._surety):
            warnings.warn(
                f"the first {len(self._surety)} images look different from the "
                f"{len(self._calibration.surety)} calibration images; promises do not hold for "
                "them; calibrate with images like these",
                ShiftWarning,
                stacklevel=stack_level(),
            )


# sets


def choose_sets(
    head: Head, coverage: float, confidence: float | None, per_label: bool, score: SetScore
) -> tuple[NDArray[np.float64], str]:
    """Return the threshold of each label [L] for prediction sets, and what they promise."""
    share("coverage", coverage)
    if confidence is not None:
        share("confidence", confidence)
    one_of("score", score, get_args(SetScore))
    flag("per_label", per_label)
    if head.calibration is None:
        raise InputError(
            "predict_set requires a calibrated classifier; call classifier.calibrate(images, "
            "truth) first"
        )
    calibration = head.calibration
    truth, scores = calibration.truth, calibration.scores[score]
    groups = [calibration.known] if not per_label else [truth == i for i in range(len(head))]
    _check_counts(head, [int(group.sum()) for group in groups], coverage, confidence)
    thresholds = np.array([set_threshold(scores[group], coverage, confidence) for group in groups])
    promise = _promise(int(groups[0].sum()), coverage, confidence, per_label)
    return np.broadcast_to(thresholds, (len(head),)), promise


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


def _promise(images: int, coverage: float, confidence: float | None, per_label: bool) -> str:
    """Return the sentence of a set."""
    count = round(100 * coverage)
    whom = "of each label " if per_label else ""
    if confidence is not None:
        return (
            f"We are {confidence:.0%} sure that at least {count} of 100 such sets {whom}contain "
            "the right label. It holds for images like those you calibrated with."
        )
    low, high = coverage_interval(images, coverage)
    return (
        f"{count} of 100 such sets {whom}contain the right label, on average over calibrations "
        f"like this one. With your {images} images the true figure lies between {100 * low:.0f} "
        f"and {100 * high:.0f}. It holds for images like those you calibrated with."
    )


def make_sets(
    head: Head,
    rows: Tensor,
    sources: Sequence[str | None],
    thresholds: NDArray[np.float64],
    score: SetScore,
    promise: str,
) -> list[LabelSet]:
    """Return the set of each embedding [n, d]; an empty set becomes the best label."""
    p = _closed(head, head.similarities(rows)[0])
    members = score_labels(p, score) <= thresholds
    members[np.arange(len(p)), p.argmax(axis=1)] |= ~members.any(axis=1)
    found = []
    for row, member, source in zip(p, members, sources, strict=True):
        order = [i for i in np.argsort(-row, kind="stable") if member[i]]
        labels = tuple(head.labels[i] for i in order)
        found.append(LabelSet(labels, tuple(float(row[i]) for i in order), source, promise))
    return found


def _closed(head: Head, logits: Tensor) -> NDArray[np.float64]:
    """Return the probabilities among the labels alone: [n, L]."""
    scaled = (head.inverse_temperature * logits).double()
    return np.asarray(scaled.softmax(dim=-1).cpu().numpy())


# fitting


def calibrate(head: Head, embeddings: Tensor, truth: NDArray[np.int64]) -> Head:
    """Return a head with a temperature and a calibration from embeddings [n, d] and rows [n]."""
    if again := set(_digests(embeddings)) & set(head.examples):
        raise InputError(
            f"{len(again)} of these images made the head, so they cannot calibrate it; use other "
            "images (with_examples calibrates by itself, from 20 examples)"
        )
    _check_images(len(truth))
    if head.scoring == "independent":
        return _calibrate_independent(head, embeddings, truth)
    labels, words = head.similarities(embeddings)
    fitted = _with_calibration(head, labels, words, truth, "images")
    absent = sorted(set(range(len(head))) - set(truth.tolist()))
    if absent:
        warnings.warn(
            f"{len(absent)} of {len(head)} labels have no calibration image: "
            f"{some([shortened(head.labels[i], 30) for i in absent], 5)}; the promises hold on "
            "average over the labels of your calibration images",
            stacklevel=stack_level(),
        )
    return fitted


def _check_images(images: int) -> None:
    if images < FEWEST:
        raise InputError(
            f"expected at least {FEWEST} calibration images, got {images}; use more images, better "
            f"{FEW} or 100"
        )
    if images < FEW:
        warnings.warn(
            f"{images} calibration images are few: probabilities and promises vary much; use "
            f"{FEW} or more",
            stacklevel=stack_level(),
        )


def _with_calibration(
    head: Head, labels: Tensor, words: Tensor | None, truth: NDArray[np.int64], method: str
) -> Head:
    """Fit the temperature to similarities with labels and words, and keep what they showed."""
    known = truth >= 0
    z = labels.double().cpu().numpy()
    factor = fit_inverse_temperature(z[known], truth[known])
    fitted = replace(head, inverse_temperature=factor, calibration=None)
    classes = labels if words is None else torch.cat([labels, fitted.sum_words(words)], dim=-1)
    own = fitted.probabilities(classes.double())[:, : len(head)].cpu().numpy()
    closed = _closed(fitted, labels)
    scores = {}
    for kind in get_args(SetScore):
        each = np.full(len(truth), np.nan)
        each[known] = score_labels(closed, kind)[known, truth[known]]
        scores[kind] = each
    calibration = Calibration(
        truth=truth,
        surety=own.max(axis=1),
        right=own.argmax(axis=1) == truth,
        scores=scores,
        inverse_temperature=factor,
        method=method,
        labels=fitted.digest(),
    )
    return replace(fitted, calibration=calibration)


def _calibrate_independent(head: Head, embeddings: Tensor, truth: NDArray[np.int64]) -> Head:
    """Fit a logistic of the scores, from which 0.5 is the cut."""
    plain = replace(head, logistic=None)
    x = plain.logits(embeddings).double().cpu().numpy()
    return replace(head, logistic=fit_logistic(x.ravel(), truth.ravel()))


def with_examples(
    head: Head,
    embeddings: Tensor,
    truth: NDArray[np.int64],
    text: float | Literal["auto"],
) -> Head:
    """Return a head whose rows are averages of text and examples."""
    _check_examples(head, truth, text)
    weight, rows = head.weight.cpu(), torch.from_numpy(truth)
    weights = TEXT_WEIGHTS if isinstance(text, str) else (float(text),)
    mixed = max(
        (mix(weight, embeddings, rows, each) for each in weights),
        key=lambda found: float((logits_without_self(found, embeddings).argmax(1) == rows).sum()),
    )
    made = replace(
        head,
        weight=mixed.rows.to(head.weight.device),
        examples=_digests(embeddings),
        calibration=None,
    )
    if len(truth) < FEWEST:
        return made
    labels = head.logit_scale * logits_without_self(mixed, embeddings)
    if head.logit_bias is not None:
        labels = labels + head.logit_bias
    return _with_calibration(made, labels, made.similarities(embeddings)[1], truth, "leave-one-out")


def _check_examples(head: Head, truth: NDArray[np.int64], text: object) -> None:
    """Raise InputError for examples that cannot be mixed with the text."""
    if head.examples:
        raise InputError(
            "expected a head without examples, got one with "
            f"{len(head.examples)}; give all examples in one call"
        )
    if not len(truth) or (truth < 0).any():
        raise InputError(
            f"expected at least one example, each of a label, got {len(truth)} examples and "
            f"{int((truth < 0).sum())} of none; remove those of none"
        )
    if len(set(truth.tolist())) < 2:
        only = shortened(repr(head.labels[truth[0]]))
        raise InputError(
            f"expected examples of at least two labels, got only {only}; the difference between "
            "texts and images cannot be measured with one label"
        )
    if isinstance(text, str) and text == "auto":
        counts = np.bincount(truth, minlength=len(head))
        few = [shortened(head.labels[i], 30) for i in np.flatnonzero(counts < EACH)]
        if few:
            raise InputError(
                f"text='auto' needs {EACH} examples of every label; too few for {some(few, 5)}; "
                "give more examples, or a number such as text=4"
            )
        return
    if isinstance(text, bool) or not isinstance(text, int | float) or not 0 <= text < math.inf:
        raise InputError(
            f"expected text to be 'auto' or a number of images, got {shortened(repr(text))}; try "
            "text=4"
        )


def _digests(embeddings: Tensor) -> tuple[str, ...]:
    """Return a digest of each embedding, rounded so that it does not depend on the batch."""
    rounded = np.round(embeddings.numpy() * 1000).astype(np.int16)
    return tuple(hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in rounded)
