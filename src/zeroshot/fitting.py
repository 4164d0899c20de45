"""Fit a head to images with known labels: calibration, and rows mixed with examples."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.calibration import (
    FEW,
    FEWEST,
    GOOD,
    Calibration,
    SetScore,
    fit_inverse_temperature,
    fit_logistic,
    fit_none_offset,
    score_labels,
)
from zeroshot.callers import stack_level
from zeroshot.errors import InputError, shortened, some
from zeroshot.head import Head
from zeroshot.mixing import logits_without_self, mix
from zeroshot.prediction_sets import closed

EACH = 4  # examples of every label that choosing the weight of the text requires
TEXT_WEIGHTS = (1.0, 2.0, 4.0, 8.0)  # that text="auto" chooses from


def calibrate(head: Head, embeddings: Tensor, truth: NDArray[np.int64]) -> Head:
    """Return a head with a temperature and a calibration from embeddings [n, d] and rows [n]."""
    digests = _digests(embeddings)
    if again := set(digests) & set(head.examples):
        raise InputError(
            f"{len(again)} of these images made the head, so they cannot calibrate it; use other "
            "images (with_examples calibrates by itself, from 20 examples)"
        )
    shown = len(truth) * truth.any() if truth.ndim == 2 else (truth >= 0).sum()
    _check_images(len(truth), int(shown))
    _warn_repeated(digests)
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


def _warn_repeated(digests: tuple[str, ...]) -> None:
    """Warn if images are given more than once: a promise counts each as a new one."""
    repeated = len(digests) - len(set(digests))
    if repeated:
        warnings.warn(
            f"{repeated} of {len(digests)} calibration images repeat others; promises are valid "
            "for independent images only; remove copies",
            stacklevel=stack_level(),
        )


def _check_images(images: int, known: int) -> None:
    """Reject too few images, of which `known` show a label; warn if there are few."""
    if images < FEWEST:
        raise InputError(
            f"expected at least {FEWEST} calibration images, got {images}; use more images, better "
            f"{GOOD} or more"
        )
    if not known:
        raise InputError(
            f"expected calibration images that show a label, got {images} of none of the labels; "
            f"add images of the labels, at least {FEWEST}, better {GOOD} or more"
        )
    if known < FEW:
        given = f"{images} calibration images"
        given += f", {known} of them with a label," if known < images else ""
        warnings.warn(
            f"{given} are few: probabilities and promises vary much; use {FEW} or more that show a "
            f"label, better {GOOD} or more",
            stacklevel=stack_level(),
        )


def _with_calibration(
    head: Head, labels: Tensor, words: Tensor | None, truth: NDArray[np.int64], method: str
) -> Head:
    """Fit the temperature to similarities with labels and words, and keep what they showed.

    The temperature is that of the labels alone; sigmoid scoring has a factor and an offset instead.
    With words, the offset of none of these is fitted too, so that the probabilities of all classes
    are true on average.
    """
    known = truth >= 0
    plain = replace(head, inverse_temperature=1.0, none_offset=0.0, logistic=None, calibration=None)
    fit = _fit_sigmoid if head.scoring == "sigmoid" else _fit_softmax
    fitted = fit(plain, labels.double(), None if words is None else words.double(), truth)
    classes = labels if words is None else torch.cat([labels, fitted.sum_words(words)], dim=-1)
    own = fitted.probabilities(classes.double())[:, : len(head)].cpu().numpy()
    among_labels = closed(fitted, labels)
    scores = {}
    for kind in get_args(SetScore):
        each = np.full(len(truth), np.nan)
        each[known] = score_labels(among_labels, kind)[known, truth[known]]
        scores[kind] = each
    calibration = Calibration(
        truth=truth,
        surety=own.max(axis=1),
        right=own.argmax(axis=1) == truth,
        scores=scores,
        inverse_temperature=fitted.logistic[0] if fitted.logistic else fitted.inverse_temperature,
        method=method,
        labels=fitted.digest(),
        has_words=words is not None,
    )
    return replace(fitted, calibration=calibration)


def _fit_softmax(
    head: Head, labels: Tensor, words: Tensor | None, truth: NDArray[np.int64]
) -> Head:
    """Fit the temperature among the labels, and the offset of none of these."""
    z, known = labels.cpu().numpy(), truth >= 0
    factor = fit_inverse_temperature(z[known], truth[known])
    fitted = replace(head, inverse_temperature=factor)
    if words is None:
        return fitted
    none = factor * fitted.sum_words(words).cpu().numpy()[:, 0]
    return replace(fitted, none_offset=fit_none_offset(factor * z, none, truth))


def _fit_sigmoid(
    head: Head, labels: Tensor, words: Tensor | None, truth: NDArray[np.int64]
) -> Head:
    """Fit a logistic of all pairs of an image and a label, and the offset of none of these."""
    x = labels.cpu().numpy()
    scale, offset = _fit_logistic(x, truth[:, None] == np.arange(len(head)))
    fitted = replace(head, logistic=(scale, offset))
    if words is None:
        return fitted
    none = scale * fitted.sum_words(words).cpu().numpy()[:, 0] + offset
    # a sigmoid is the softmax of this logit and 0
    more = fit_none_offset(np.zeros((len(none), 1)), none, truth)
    return replace(fitted, none_offset=more / scale)


def _fit_logistic(scores: NDArray[np.float64], right: NDArray[Any]) -> tuple[float, float]:
    """Fit the factor and the offset of scores; raise InputError if right labels score lower."""
    scale, offset = fit_logistic(scores.ravel(), right.ravel())
    if scale <= 0:
        raise InputError(
            "expected right labels to score higher than wrong ones on average, got the opposite; "
            "check that images and truth are in the same order"
        )
    return scale, offset


def _calibrate_independent(head: Head, embeddings: Tensor, truth: NDArray[np.int64]) -> Head:
    """Fit a logistic of the scores, from which 0.5 is the cut."""
    plain = replace(head, logistic=None)
    x = plain.logits(embeddings).double().cpu().numpy()
    return replace(head, logistic=_fit_logistic(x, truth))


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
    tried = [mix(weight, embeddings, rows, each) for each in weights]
    pairs = [(mixed, logits_without_self(mixed, embeddings)) for mixed in tried]
    mixed, similarities = max(pairs, key=lambda pair: int((pair[1].argmax(1) == rows).sum()))
    digests = _digests(embeddings)
    made = replace(
        head,
        weight=mixed.rows.to(head.weight.device),
        examples=digests,
        none_offset=0.0,
        calibration=None,
    )
    if len(truth) < FEWEST:
        return made
    _warn_repeated(digests)
    labels = head.logit_scale * similarities
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
