"""Tests of the paper's metrics."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import zeroshot
from examples.paper.datasets.base import DataSet
from examples.paper.measures import (
    average_precision_11,
    mean_average_precision_11,
    measure,
    roc_auc,
)
from tests.support import FakeEncoder, flat
from zeroshot.errors import InputError
from zeroshot.evaluation.answers import embed_images

RANDOM = np.random.default_rng(0)


def test_11_point_average_precision_of_a_worked_example():
    # Recall .5 with precision 1 for the levels 0 to .5, recall 1 with 2/3 for the levels .6 to 1.
    found = average_precision_11(
        np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    )
    assert found[0] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_11_point_precision_is_the_best_at_any_higher_recall():
    # Precision 1/2 at recall .5, 2/3 at recall 1: the latter counts for all 11 levels.
    found = average_precision_11(np.array([0.9, 0.8, 0.7]), np.array([False, True, True]))
    assert found[0] == pytest.approx(2 / 3)


def devkit(scores: np.ndarray, truth: np.ndarray) -> float:
    """Compute the 11-point average precision in the plain way of the development kit."""
    positive = truth[np.argsort(-scores)]
    found = positive.cumsum()
    precision = found / np.arange(1, len(scores) + 1)
    levels = [precision[10 * found >= level * truth.sum()].max() for level in range(11)]
    return float(np.mean(levels))


@pytest.mark.parametrize("images", [1, 2, 7, 30, 200])
def test_11_point_average_precision_equals_the_plain_computation(images):
    for _ in range(20):
        scores, truth = RANDOM.random(images), RANDOM.random(images) < 0.3
        truth[RANDOM.integers(images)] = True
        assert average_precision_11(scores, truth)[0] == pytest.approx(devkit(scores, truth))


def test_images_with_equal_scores_are_one_step():
    for truth in ([True, False], [False, True]):
        assert average_precision_11(np.array([0.5, 0.5]), np.array(truth))[0] == 0.5


def test_weights_of_a_resample_equal_repeated_images():
    scores = RANDOM.integers(0, 8, 40) / 8
    truth = RANDOM.random(40) < 0.3
    weights = RANDOM.integers(0, 4, (5, 40)).astype(float)
    found = average_precision_11(scores, truth, weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        again = average_precision_11(np.repeat(scores, row), np.repeat(truth, row))
        assert value == pytest.approx(again[0])


def test_label_without_images_has_no_precision():
    assert np.isnan(average_precision_11(np.array([0.5]), np.array([False]))[0])


def test_difficult_images_do_not_count_for_their_label_only():
    scores = np.array([[0.9, 0.9], [0.8, 0.8], [0.1, 0.1]])
    truth = np.array([[False, False], [True, True], [False, False]])
    counted = np.ones((3, 2), bool)
    assert mean_average_precision_11(scores, truth, counted).value == pytest.approx(0.5)
    counted[0, 1] = False
    assert mean_average_precision_11(scores, truth, counted).value == pytest.approx(0.75)


def test_interval_of_the_mean_precision_contains_it():
    truth = RANDOM.random((300, 4)) < 0.3
    scores = RANDOM.random((300, 4)) + 0.5 * truth
    found = mean_average_precision_11(scores, truth, draws=200)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.2


def test_roc_auc_equals_scikit_learns_with_ties():
    scores = RANDOM.integers(0, 10, 200) / 10
    positive = RANDOM.random(200) < 0.3 + 0.4 * scores
    found = roc_auc(scores, positive, draws=300)
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    assert found.low < found.value < found.high


def test_bootstrap_of_roc_auc_uses_its_weights():
    scores, positive = RANDOM.random(400), RANDOM.random(400) < 0.5
    found = roc_auc(scores, positive, draws=400)
    # Hanley and McNeil: the standard error of an area of .5 is sqrt((1/m + 1/n) / 12).
    expected = 2 * 1.96 * np.sqrt((1 / positive.sum() + 1 / (~positive).sum()) / 12)
    assert found.high - found.low == pytest.approx(expected, rel=0.15)


def test_roc_auc_of_one_label_is_rejected():
    with pytest.raises(InputError, match="expected images of both labels"):
        roc_auc(np.array([0.1, 0.2]), np.array([True, True]))


COLORS = ("red", "green", "blue", "white", "black", "gray")


def measured(metric, truth, shown, labels=COLORS):
    """Measure a classifier of flat images by their color."""
    encoder = FakeEncoder()
    made = zeroshot.Classifier(encoder, zeroshot.Head.build(encoder, list(labels), "{}"))
    data = DataSet([flat(color) for color in shown], truth, tuple(labels))
    return measure(metric, made, data, embed_images(encoder, data.images), draws=200)


def test_mean_per_class_weighs_labels_equally():
    found = measured("mean_per_class", [0, 0, 0, 1], ["red", "red", "red", "blue"])
    assert found.figure.value == 0.5
    assert found.report.figures["mean_per_class"] == found.figure


def test_top1_is_the_figure_of_the_report():
    found = measured("top1", [0, 0, 0, 1], ["red", "red", "red", "blue"])
    assert found.figure == found.report.figures["top1"]
    assert found.figure.value == 0.75


def test_mean_of_top1_and_top5_counts_half_for_rank_2_to_5():
    found = measured("mean_top1_top5", [0, 1], ["red", "blue"])
    top1, top5 = (found.report.figures[name].value for name in ("top1", "top5"))
    assert found.figure.value == pytest.approx((top1 + top5) / 2)
    assert top1 < top5


def test_roc_auc_takes_the_second_label_as_positive():
    found = measured("roc_auc", [0, 1, 0, 1], ["red", "blue"] * 2, ("red", "blue"))
    assert found.figure.value == 1
    found = measured("roc_auc", [1, 0, 1, 0], ["red", "blue"] * 2, ("red", "blue"))
    assert found.figure.value == 0


def test_roc_auc_of_three_labels_is_rejected():
    with pytest.raises(InputError, match="expected 2 labels for a ROC AUC, got 6"):
        measured("roc_auc", [0, 1], ["red", "blue"])


def test_map11_requires_lists_of_labels():
    with pytest.raises(InputError, match="expected a list of labels for each image"):
        measured("map11", [0, 1], ["red", "blue"])


def test_map11_of_images_with_several_labels():
    found = measured("map11", [[0], [2], []], ["red", "blue", "green"])
    assert found.figure.value == 1
    assert found.report.figures["map"].value == 1
