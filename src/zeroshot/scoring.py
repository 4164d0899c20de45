"""Turn embeddings and a head into predictions, and warn if images look different."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from zeroshot.answering import Answering
from zeroshot.calibration import FEWEST, has_shifted
from zeroshot.callers import stack_level
from zeroshot.errors import ShiftWarning
from zeroshot.head import Head
from zeroshot.predictions import Failure, Prediction

SHIFT_IMAGES = 50  # first images that are compared with the calibration images


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
    """Add the probability of none; without `answers`, turn away images that a word fits better."""
    value, word = words.max(dim=1)
    beats = (value > labels.amax(dim=1)).tolist()
    if answers is not None:  # the threshold decides instead of the words
        beats = [False] * len(beats)
    names = [
        head.words.words[index] if beat else None for index, beat in zip(word, beats, strict=True)
    ]
    return [
        replace(
            each,
            none=p,
            instead=name,
            label=None if name is not None else each.label,
            path=None if name is not None else each.path,
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
