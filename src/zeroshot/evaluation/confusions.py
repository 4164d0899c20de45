"""Find the labels that a classifier confuses, with images of each confusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroshot.evaluation.answers import Answers

PAIRS = 10  # confusions listed
IMAGES = 4  # images of each


@dataclass(frozen=True)
class Confusion:
    """Images of one label that got another one as their answer."""

    truth: str
    answer: str
    count: int
    rows: tuple[int, ...]  # some of the images, surest first


def pairs(answers: Answers, labels: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Return pairs of right label and wrong answer with their number of images, most first."""
    wrong = ~answers.right
    codes = answers.truth[wrong] * labels + answers.best[wrong]
    found, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    listed = [divmod(code, labels) for code in found[order].tolist()]
    return listed, counts[order].tolist()


def worst(answers: Answers, labels: tuple[str, ...], limit: int = PAIRS) -> tuple[Confusion, ...]:
    """Return the most frequent confusions; of equal ones, those of the first labels."""
    listed, counts = pairs(answers, len(labels))
    found = []
    for (truth, answer), count in list(zip(listed, counts, strict=True))[:limit]:
        rows = np.flatnonzero((answers.truth == truth) & (answers.best == answer))
        surest = rows[np.argsort(-answers.confidence[rows], kind="stable")][:IMAGES]
        found.append(Confusion(labels[truth], labels[answer], count, tuple(surest.tolist())))
    return tuple(found)
