"""The most frequent confusions come first, each with its surest images."""

from __future__ import annotations

import numpy as np

from zeroshot.evaluation.answers import Answers
from zeroshot.evaluation.confusions import IMAGES, worst


def answers(truth: list[int], best: list[int], confidence: list[float]) -> Answers:
    right = np.array(truth) == np.array(best)
    zeros = np.zeros(len(truth))
    return Answers(
        np.array(truth),
        np.array(best),
        (~right).astype(int),
        np.array(confidence),
        right,
        zeros,
        zeros,
    )


def test_the_most_frequent_confusion_comes_first() -> None:
    found = worst(
        answers([0, 1, 1, 2, 2], [0, 2, 2, 0, 2], [0.9, 0.3, 0.8, 0.5, 0.5]), tuple("abc")
    )

    assert [(e.truth, e.answer, e.count, e.rows) for e in found] == [
        ("b", "c", 2, (2, 1)),
        ("c", "a", 1, (3,)),
    ]


def test_only_some_images_and_pairs_are_listed() -> None:
    found = worst(answers([0] * 9 + [1], [1] * 9 + [0], [0.5] * 10), tuple("ab"), limit=1)

    assert len(found) == 1
    assert found[0].count == 9
    assert found[0].rows == tuple(range(IMAGES))


def test_right_answers_give_no_confusions() -> None:
    assert worst(answers([0, 1], [0, 1], [0.5, 0.5]), tuple("ab")) == ()
