"""Metrics equal those of scikit-learn and torchmetrics; intervals have their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn
from torchmetrics.functional import classification as torchmetrics

from zeroshot import metrics

EXACT = 1e-9
IMAGES, LABELS = 400, 7


@pytest.fixture(scope="module")
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def logits(random: np.random.Generator) -> NDArray[np.float64]:
    return random.normal(size=(IMAGES, LABELS)).round(1)  # rounded, so that scores tie


@pytest.fixture(scope="module")
def truth(logits: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    return np.array([random.choice(LABELS, p=p) for p in metrics.softmax(2 * logits)])


@pytest.fixture(scope="module")
def right(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    return logits.argmax(axis=1) == truth


def test_softmax_equals_that_of_torch(logits: NDArray[np.float64]) -> None:
    wanted = torch.from_numpy(logits).softmax(dim=1).numpy()
    np.testing.assert_allclose(metrics.softmax(logits), wanted, atol=EXACT)
    assert metrics.softmax([1e9, 0.0]).tolist() == [1.0, 0.0]


# accuracy


def test_the_first_of_equal_scores_is_the_answer(
    logits: NDArray[np.float64], truth: NDArray[np.int64], right: NDArray[np.bool_]
) -> None:
    assert (metrics.is_in_top(logits, truth) == right).all()
    assert metrics.is_in_top([[0.5, 0.5, 0.5]] * 3, [0, 1, 2], k=2).tolist() == [True, True, False]
    assert metrics.is_in_top(logits, truth, k=LABELS).all()


def test_top_5_equals_scikit_learn(random: np.random.Generator) -> None:
    scores, labels = random.random((300, 9)), random.integers(0, 9, 300)
    wanted = sklearn.top_k_accuracy_score(labels, scores, k=5, labels=range(9))
    assert metrics.mean(metrics.is_in_top(scores, labels, 5)) == pytest.approx(wanted, abs=EXACT)


def test_mean_per_label_equals_balanced_accuracy(
    logits: NDArray[np.float64], truth: NDArray[np.int64], right: NDArray[np.bool_]
) -> None:
    wanted = sklearn.balanced_accuracy_score(truth, logits.argmax(axis=1))
    assert metrics.mean_per_label(right, truth) == pytest.approx(wanted, abs=EXACT)


def test_confusion_equals_scikit_learn(
    logits: NDArray[np.float64], truth: NDArray[np.int64]
) -> None:
    wanted = sklearn.confusion_matrix(truth, logits.argmax(axis=1), labels=range(LABELS + 1))
    found = metrics.confusion(logits.argmax(axis=1), truth, LABELS + 1)
    assert (found == wanted).all()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40).filter(
        lambda rows: any(positive for _, positive in rows)
    )
)
def test_average_precision_equals_scikit_learn_with_ties(rows: list[tuple[int, bool]]) -> None:
    scores, positive = zip(*rows, strict=True)
    wanted = sklearn.average_precision_score(positive, scores)
    assert metrics.average_precision(scores, positive) == pytest.approx(wanted, abs=EXACT)


def test_mean_average_precision_equals_torchmetrics(random: np.random.Generator) -> None:
    scores, positive = random.random((200, 5)), random.random((200, 5)) < 0.3
    wanted = torchmetrics.multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(positive).int(), num_labels=5
    )
    found = metrics.mean_average_precision(scores, positive)
    assert found == pytest.approx(float(wanted), abs=1e-6)


def test_labels_in_no_image_do_not_count() -> None:
    assert metrics.mean_average_precision([[0.9, 0.5], [0.1, 0.5]], [[1, 0], [0, 0]]) == 1.0
    assert math.isnan(metrics.mean_average_precision([[0.9]], [[0]]))


# calibration


def test_calibration_error_with_equal_width_equals_torchmetrics(
    logits: NDArray[np.float64], truth: NDArray[np.int64], right: NDArray[np.bool_]
) -> None:
    p = metrics.softmax(logits)
    wanted = torchmetrics.multiclass_calibration_error(
        torch.from_numpy(p), torch.from_numpy(truth), num_classes=LABELS, n_bins=15
    )
    found = metrics.calibration_error(p.max(axis=1), right, bins=15, equal_width=True)
    assert found == pytest.approx(float(wanted), abs=1e-6)


def test_adaptive_bins_have_equal_numbers_of_images(random: np.random.Generator) -> None:
    confidence = random.random(300)
    right = random.random(300) < confidence
    parts = np.split(np.argsort(confidence), 15)
    wanted = np.mean([abs(confidence[part].mean() - right[part].mean()) for part in parts])

    assert metrics.calibration_error(confidence, right) == pytest.approx(wanted, abs=EXACT)


@pytest.mark.parametrize(
    ("images", "bins"), [(0, 5), (50, 5), (100, 5), (200, 10), (300, 15), (10_000, 15)]
)
def test_few_images_have_few_bins(images: int, bins: int) -> None:
    assert metrics.calibration_bins(images) == bins


@pytest.mark.parametrize(("images", "floor"), [(50, 0.14), (100, 0.11), (200, 0.08), (1000, 0.035)])
def test_a_calibrated_model_has_the_error_of_the_floor(images: int, floor: float) -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.4, 1, images)
    average, high = metrics.calibration_floor(confidence, bins=15)

    assert average == pytest.approx(floor, rel=0.35)
    above = [
        float(metrics.calibration_error(confidence, random.random(images) < confidence, bins=15))
        > high
        for _ in range(200)
    ]
    assert np.mean(above) <= 0.12


def test_brier_score_and_log_loss_equal_scikit_learn(
    logits: NDArray[np.float64], truth: NDArray[np.int64]
) -> None:
    p = metrics.softmax(logits)
    labels = range(LABELS)
    brier = sklearn.brier_score_loss(truth, p, labels=labels, scale_by_half=False)
    loss = sklearn.log_loss(truth, p, labels=labels)
    assert metrics.mean(metrics.brier_score(p, truth)) == pytest.approx(brier, abs=EXACT)
    assert metrics.mean(metrics.log_loss(p, truth)) == pytest.approx(loss, abs=EXACT)
    assert np.isfinite(metrics.log_loss([[0.0, 1.0]], [0])).all()


# rankings


def test_area_under_risk_is_the_mean_risk() -> None:
    right = np.array([1, 0, 1, 1, 0, 1], bool)
    risks = [np.mean(~right[: k + 1]) for k in range(6)]
    assert metrics.area_under_risk([6, 5, 4, 3, 2, 1], right) == pytest.approx(np.mean(risks))


def test_images_with_equal_confidence_are_answered_together() -> None:
    coverage, risk = metrics.risk_coverage([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 1])
    np.testing.assert_allclose(coverage, [0.25, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 1 / 3, 1 / 4])
    for order in ([0, 1, 2], [2, 1, 0]):  # the order of ties does not matter
        right = np.array([1, 0, 1])[order]
        assert metrics.area_under_risk([0.5] * 3, right) == pytest.approx(1 / 3)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1), st.lists(st.integers(0, 4), min_size=1))
def test_auroc_equals_scikit_learn_with_ties(positive: list[int], negative: list[int]) -> None:
    labels = [1] * len(positive) + [0] * len(negative)
    wanted = sklearn.roc_auc_score(labels, positive + negative)
    assert metrics.auroc(positive, negative) == pytest.approx(wanted, abs=EXACT)
    weights = np.random.default_rng(0).integers(0, 3, (2, len(positive) + len(negative))) + 0.5
    found = metrics.auroc(positive, negative, weights)
    scores = positive + negative
    each = [sklearn.roc_auc_score(labels, scores, sample_weight=row) for row in weights]
    assert found == pytest.approx(each, abs=EXACT)


# weights and intervals


def test_weights_equal_repeated_images(
    logits: NDArray[np.float64], truth: NDArray[np.int64], right: NDArray[np.bool_]
) -> None:
    counts = np.random.default_rng(2).integers(0, 4, (3, IMAGES))
    confidence = metrics.softmax(logits).max(axis=1)
    for row in counts:
        again = np.repeat(np.arange(IMAGES), row)
        assert metrics.mean(right, row) == pytest.approx(right[again].mean(), abs=EXACT)
        assert metrics.mean_per_label(right, truth, row) == pytest.approx(
            float(metrics.mean_per_label(right[again], truth[again])), abs=EXACT
        )
        assert metrics.area_under_risk(confidence, right, row) == pytest.approx(
            float(metrics.area_under_risk(confidence[again], right[again])), abs=EXACT
        )
        assert metrics.calibration_error(confidence, right, row, bins=15) == pytest.approx(
            float(metrics.calibration_error(confidence[again], right[again], bins=15)), abs=0.02
        )
    together = metrics.area_under_risk(confidence, right, counts)
    assert together.shape == (3,)
    assert together[1] == metrics.area_under_risk(confidence, right, counts[1])


def test_figures_without_images_are_not_a_number() -> None:
    for value in (
        metrics.mean([]),
        metrics.mean_per_label([], []),
        metrics.calibration_error([], []),
        metrics.area_under_risk([], []),
        metrics.auroc([], [1]),
    ):
        assert np.isnan(value)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 20, 0, 0.1611), (20, 20, 0.8389, 1)],
)
def test_wilson_interval(count: int, of: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(count, of) == pytest.approx((low, high), abs=1e-4)


def test_bootstrap_intervals_contain_the_truth_as_often_as_promised() -> None:
    random = np.random.default_rng(3)
    inside = 0
    for seed in range(200):
        right = random.random(150) < 0.7
        low, high = metrics.bootstrap(
            lambda weights, right=right: metrics.mean(right, weights), 150, draws=400, seed=seed
        )
        inside += bool(low <= 0.7 <= high)
    assert 0.90 <= inside / 200 <= 0.985


def test_paired_intervals_are_narrow_where_two_models_agree() -> None:
    random = np.random.default_rng(4)
    first = random.random(400) < 0.7
    second = first ^ (random.random(400) < 0.03)

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return metrics.mean(second, weights) - metrics.mean(first, weights)

    low, high = metrics.bootstrap(difference, 400)
    alone = metrics.bootstrap(lambda weights: metrics.mean(first, weights), 400)
    assert high - low < (alone[1] - alone[0]) / 2
    again = metrics.bootstrap(difference, 400)
    assert (low, high) == again  # seeded
