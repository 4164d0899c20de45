"""Figures equal values computed by hand and by the metrics of whole arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.support import axes_classifier, one_hot
from zeroshot import metrics
from zeroshot.evaluation import figures
from zeroshot.evaluation.answers import Answers, answer, as_embeddings

LABELS = ("a", "b", "c")
BEST = [0, 0, 0, 1, 2, 2]
TRUTH = [0, 0, 1, 1, 2, 0]
HIGH = math.exp(4) / (math.exp(4) + 2)  # probability of the answer of a one-hot embedding


def answers(best: list[int], truth: list[int], labels: int = 3) -> Answers:
    embeddings = as_embeddings(one_hot(best, labels), labels)
    assert embeddings is not None
    head = axes_classifier([str(n) for n in range(labels)]).head
    return answer(head, embeddings, np.asarray(truth))


def single(found: Answers, labels: int = 3, *, sums_to_one: bool = True) -> dict[str, object]:
    return figures.single_label(found, labels, sums_to_one=sums_to_one, draws=200, seed=0)


def test_figures_equal_hand_computed_values() -> None:
    found = figures.single_label(answers(BEST, TRUTH), 3, sums_to_one=True, draws=200, seed=0)

    low = 1 / (math.exp(4) + 2)
    right, wrong = (1 - HIGH) ** 2 + 2 * low**2, HIGH**2 + (1 - low) ** 2 + low**2
    assert found["top1"].value == pytest.approx(4 / 6)
    assert (found["top1"].low, found["top1"].high) == metrics.wilson_interval(4, 6)
    assert found["mean_per_label"].value == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["brier"].value == pytest.approx((4 * right + 2 * wrong) / 6)
    assert found["nll"].value == pytest.approx(-(4 * math.log(HIGH) + 2 * math.log(low)) / 6)
    assert found["aurc"].value == pytest.approx(2 / 6, abs=0.06)  # all are about equally sure
    # sorted by equal confidence, five bins of 6 images: the order of the images
    assert found["ece"].value == pytest.approx(
        float(metrics.calibration_error([HIGH] * 6, [1, 1, 0, 1, 1, 0]))
    )


def test_every_figure_but_the_calibration_error_has_an_interval_around_it() -> None:
    found = figures.single_label(answers(BEST, TRUTH), 3, sums_to_one=True, draws=200, seed=0)

    assert found["ece"].low is None
    for name in ("top1", "mean_per_label", "brier", "nll", "aurc"):
        figure = found[name]
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high


def test_a_bootstrap_interval_of_a_calibrated_model_misses_its_true_calibration_error() -> None:
    """For that reason the calibration error has a floor and no interval."""
    random = np.random.default_rng(0)
    for seed in range(20):
        sure = random.beta(3, 1.5, 176)
        right = random.random(176) < sure

        def error(w: np.ndarray, sure: object = sure, right: object = right) -> np.ndarray:
            return metrics.calibration_error(sure, right, w)  # type: ignore[arg-type]

        low, _ = metrics.bootstrap(error, 176, draws=100, seed=seed)
        assert low > 0.01


def test_the_seed_decides_the_intervals() -> None:
    found = answers(BEST * 5, TRUTH * 5)

    assert single(found) == single(found)
    other = figures.single_label(found, 3, sums_to_one=True, draws=200, seed=1)
    assert single(found)["nll"] != other["nll"]


def test_top_five_needs_more_than_five_labels() -> None:
    assert "top5" not in single(answers([0], [0], 5), 5)
    found = figures.single_label(answers([0, 0], [4, 5], 6), 6, sums_to_one=True, draws=9, seed=0)
    assert found["top5"].value == 0.5  # of equal scores the first labels are better
    given = answers([0, 0], [4, 5], 6)
    refusing = figures.single_label(given, 6, sums_to_one=True, abstains=True, draws=9, seed=0)
    assert "top5" not in refusing  # an image without an answer has no five labels


@pytest.mark.parametrize(("truth", "top1"), [(0, 1.0), (1, 0.0)])
def test_one_image_gives_figures_without_bootstrap_intervals(truth: int, top1: float) -> None:
    found = figures.single_label(answers([0], [truth]), 3, sums_to_one=True, draws=9, seed=0)

    assert found["top1"].value == found["mean_per_label"].value == top1
    assert found["mean_per_label"].low is None
    assert found["top1"].low is not None


def test_without_softmax_scores_that_need_sums_of_one_are_left_out() -> None:
    found = single(answers(BEST, TRUTH), sums_to_one=False)

    assert not {"brier", "nll"} & set(found)
    assert {"ece", "aurc"} < set(found)


def test_labels_have_their_own_accuracy() -> None:
    found = figures.per_label(answers(BEST, [0, 0, 1, 1, 0, 0]), LABELS)

    assert [(e.label, e.n, e.right, e.answers) for e in found] == [
        ("a", 4, 2, 3),
        ("b", 2, 1, 1),
        ("c", 0, 0, 2),
    ]
    assert found[0].accuracy == figures.Figure(0.5, *metrics.wilson_interval(2, 4))
    assert found[2].accuracy is None


def test_bins_hold_all_images_sorted_by_confidence() -> None:
    found = figures.reliability(answers(BEST * 20, TRUTH * 20))

    assert sum(each.n for each in found) == 120
    assert len(found) == metrics.calibration_bins(120)
    assert len(figures.reliability(answers([0], [0]))) == 1
    assert found[0].confidence == pytest.approx(HIGH)


def test_precisions_without_an_image_equal_plain_loops() -> None:
    random = np.random.default_rng(1)
    scores = random.integers(0, 6, (40, 5)) / 6  # many ties
    truth = random.random((40, 5)) < 0.3
    truth[:, 0] = np.arange(40) == 7  # undefined without its only image

    for column in range(5):
        found = figures.precisions_without(scores[:, column], truth[:, column])
        for image in range(40):
            rest = np.arange(40) != image
            expected = metrics.average_precision(scores[rest, column], truth[rest, column])
            assert found[image] == pytest.approx(expected, nan_ok=True)
    assert figures.precisions_without(np.array([0.5]), np.array([True])).tolist() == [
        pytest.approx(math.nan, nan_ok=True)
    ]


@pytest.mark.parametrize(
    ("images", "labels", "share"),
    [(300, 8, 0.2), (300, 8, 0.05), (200, 20, 0.05), (1000, 10, 0.02)],
)
def test_the_interval_of_mean_average_precision_contains_that_of_many_images(
    images: int, labels: int, share: float
) -> None:
    random = np.random.default_rng(0)
    shifts = np.linspace(0.8, 2.2, labels)

    def draw(n: int, shift: object) -> tuple[np.ndarray, np.ndarray]:
        truth = random.random((n, np.size(shift))) < share
        return random.normal(size=truth.shape) + shift * truth, truth

    many = [draw(200_000, shift) for shift in shifts]
    expected = np.mean([metrics.average_precision(s[:, 0], t[:, 0]) for s, t in many])
    covered = 0
    for _ in range(200):
        found = figures.mean_precision(*draw(images, shifts))
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        covered += found.low <= expected <= found.high
    assert covered >= 0.93 * 200


def test_a_perfect_ranking_has_no_interval() -> None:
    truth = np.eye(4, dtype=bool)[[0, 0, 1, 1, 2, 2, 3, 3]]

    assert figures.mean_precision(truth.astype(float), truth) == figures.Figure(1.0)
    assert figures.mean_precision(truth[:1].astype(float), truth[:1]) == figures.Figure(1.0)


def test_several_labels_give_precision_and_the_share_of_right_best_labels() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.3, 0.1]])
    truth = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)

    found = figures.multi_label(scores, truth)
    each = figures.precisions(scores, truth, LABELS)

    # b: ranks are image 1, 2, 0; precision 1 and 2/3
    assert found["map"].value == pytest.approx((1 + (1 + 2 / 3) / 2) / 2)
    assert found["top1"].value == 1.0  # the image without a label does not count
    assert [(e.label, e.n, e.precision) for e in each] == [
        ("a", 1, 1.0),
        ("b", 2, pytest.approx(5 / 6)),
        ("c", 0, None),
    ]


def test_figures_of_a_classifier_that_gives_no_answer_equal_hand_counts() -> None:
    # columns: a, b, none of these; 3 of 5 known images answered, 2 of 3 unknown turned away
    truth, best = np.array([0, 0, 1, 1, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 2, 2, 0])
    sure = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1, 0.2, 0.75])
    rank = np.where(truth == best, 0, 1)
    right, zeros = np.array([1, 0, 1, 1, 0, 0, 0, 0], bool), np.zeros(8)
    given = Answers(truth, best, rank, sure, right, zeros, zeros)

    found = figures.single_label(given, 2, sums_to_one=True, abstains=True, draws=500, seed=0)

    def wilson(count: int, of: int) -> figures.Figure:
        return figures.Figure(count / of, *metrics.wilson_interval(count, of))

    assert found["top1"] == wilson(4, 8)
    assert found["answered"] == wilson(4, 8)
    assert found["right_among_answers"] == wilson(2, 4)
    assert found["known_answered"] == wilson(3, 5)
    assert found["unknown_turned_away"] == wilson(2, 3)
    area = found["auroc"]
    assert area.value == pytest.approx(roc_auc_score(truth < 2, sure))
    assert area.low is not None
    assert area.high is not None
    assert area.low < area.value < area.high
    assert found["ece"].value == pytest.approx(float(metrics.calibration_error(sure, right)))


def test_without_unknown_images_nothing_is_said_about_them() -> None:
    given = answers([0, 1], [0, 1], 3)

    found = figures.single_label(given, 3, sums_to_one=True, abstains=True, draws=9, seed=0)

    assert found["answered"].value == 1.0
    assert not {"known_answered", "unknown_turned_away", "auroc"} & set(found)


def test_a_bootstrapped_figure_has_the_interval_of_metrics() -> None:
    values = np.random.default_rng(0).random(50)

    def mean(weights: metrics.Floats) -> metrics.Floats:
        return metrics.mean(values, weights)

    found = figures.bootstrapped(mean, 50, draws=100, seed=3)

    low, high = metrics.bootstrap(mean, 50, draws=100, seed=3)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == (float(low), float(high))
    assert figures.bootstrapped(lambda weights: weights[:, 0], 1, draws=9).low is None


def test_auroc_is_that_of_scikit_learn_in_any_order_of_images() -> None:
    random = np.random.default_rng(0)
    positive = random.random(60) < 0.4
    scores = (random.random(60) + positive * 0.4).round(1)  # with ties

    found = figures.auroc(scores, positive, draws=50)

    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
