"""Temperature and sets equal those of scikit-learn and MAPIE; promises hold in simulations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn
from mapie.classification import SplitConformalClassifier
from scipy import optimize, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from zeroshot import calibration
from zeroshot.metrics import softmax

IMAGES, NEW, LABELS = 120, 500, 12
HAS_TEMPERATURE = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8)


class Logits(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Takes logits as features and returns them."""

    def fit(self, X: Any, y: Any) -> Logits:
        self.classes_, self.fitted_ = np.arange(LABELS), True
        return self

    def predict_proba(self, X: Any) -> Any:
        return softmax(X)

    def decision_function(self, X: Any) -> Any:
        return X

    def predict(self, X: Any) -> Any:
        return np.argmax(X, axis=1)


@pytest.fixture(scope="module")
def logits() -> Any:
    return 2 * np.random.default_rng(0).normal(size=(IMAGES + NEW, LABELS))


@pytest.fixture(scope="module")
def truth(logits: Any) -> Any:
    random = np.random.default_rng(1)
    return np.array([random.choice(LABELS, p=p) for p in softmax(0.7 * logits)])


# temperature


@pytest.mark.skipif(not HAS_TEMPERATURE, reason="requires scikit-learn 1.8")
def test_inverse_temperature_equals_scikit_learn(logits: Any, truth: Any) -> None:
    model = FrozenEstimator(Logits().fit(logits, truth))
    fitted = CalibratedClassifierCV(model, method="temperature").fit(logits, truth)
    wanted = fitted.calibrated_classifiers_[0].calibrators[0].beta_

    assert calibration.fit_inverse_temperature(logits, truth, None) == pytest.approx(wanted, 1e-6)


@pytest.mark.parametrize("scale", [0.2, 0.7, 1.0, 3.0, 20.0])
def test_the_scale_of_simulated_labels_is_found(logits: Any, scale: float) -> None:
    random = np.random.default_rng(2)
    labels = np.array([random.choice(LABELS, p=p) for p in softmax(scale * logits)])
    assert calibration.fit_inverse_temperature(logits, labels, None) == pytest.approx(scale, 0.25)


def test_the_prior_keeps_the_temperature_finite_when_all_images_are_right() -> None:
    z = np.eye(5) * 3
    found = calibration.fit_inverse_temperature(z, range(5))
    assert 1 < found < 3
    assert calibration.fit_inverse_temperature(z[:0], []) == 1.0
    assert 0.3 < calibration.fit_inverse_temperature(z, [1, 2, 3, 4, 0]) < 1  # all are wrong


def test_logits_of_any_size_give_a_finite_temperature() -> None:
    for size in (1e-9, 1e3, 1e6):
        assert math.isfinite(calibration.fit_inverse_temperature(np.eye(4) * size, range(4), None))


@pytest.mark.parametrize("unknown", [0.0, 0.3, 1.0])
def test_the_offset_of_none_is_the_most_probable_one(logits: Any, unknown: float) -> None:
    random = np.random.default_rng(3)
    none, labels = 9 + random.normal(size=120), random.integers(0, LABELS, 120)
    labels[random.random(120) < unknown] = -1

    def loss(offset: float) -> float:
        classes = np.concatenate([logits[:120], none[:, None] + offset], axis=1)
        own = np.take_along_axis(classes, labels[:, None] % (LABELS + 1), axis=1)[:, 0]
        return float((np.log(np.exp(classes).sum(axis=1)) - own).sum() + offset**2 / 32)

    best = optimize.minimize_scalar(loss, bounds=(-40, 40), method="bounded").x

    found = calibration.fit_none_offset(logits[:120], none, labels)
    assert found == pytest.approx(best, abs=1e-3)
    assert loss(found) <= loss(best) + 1e-9


def test_the_offset_of_none_is_finite_for_any_logits() -> None:
    assert calibration.fit_none_offset(np.zeros((0, 2)), [], []) == 0
    for size in (1e-9, 1e3, 1e6):
        assert math.isfinite(calibration.fit_none_offset(np.eye(4) * size, [size] * 4, range(4)))


@pytest.mark.parametrize("shift", [-300.0, -30.0, 0.0, 30.0, 300.0])
def test_a_logistic_is_the_most_probable_one_for_logits_of_any_level(shift: float) -> None:
    random = np.random.default_rng(4)
    scores = 3 * random.normal(size=300)
    right = random.random(300) < 1 / (1 + np.exp(1 - 0.7 * scores))

    def loss(pair: Any) -> float:
        z = pair[0] * (scores + shift) + pair[1]
        middle = (scores + shift).mean()
        prior = (pair[0] - 1) ** 2 + (pair[0] * middle + pair[1] - middle) ** 2 / 100
        return float((np.logaddexp(0, z) - right * z).sum() + prior / 2)

    best = optimize.minimize(loss, (1.0, -shift), method="Nelder-Mead", options={"maxiter": 9999})

    assert loss(calibration.fit_logistic(scores + shift, right)) <= best.fun + 1e-6


# sets


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("score", ["lac", "aps"])
def test_sets_equal_those_of_mapie(logits: Any, truth: Any, coverage: float, score: Any) -> None:
    oracle = SplitConformalClassifier(
        Logits().fit(logits, truth),
        confidence_level=coverage,
        conformity_score=score,
        prefit=True,
        random_state=0,
    )
    oracle.conformalize(logits[:IMAGES], truth[:IMAGES])
    options = {"include_last_label": "randomized"} if score == "aps" else None
    _, wanted = oracle.predict_set(logits[IMAGES:], conformity_score_params=options)
    # MAPIE seeds the numbers of calibration and prediction alike, and removes a share
    first, second = (1 - np.random.RandomState(0).uniform(size=n) for n in (IMAGES, NEW))

    p = softmax(logits)
    own = calibration.score_labels(p[:IMAGES], score, first)[np.arange(IMAGES), truth[:IMAGES]]
    threshold = calibration.set_threshold(own, coverage)
    found = calibration.score_labels(p[IMAGES:], score, second) <= threshold

    assert (found == wanted[..., 0]).all()


@pytest.mark.parametrize("images", [20, 50, 99, 200])
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_coverage_has_the_beta_law(images: int, coverage: float) -> None:
    random = np.random.default_rng(3)
    rank = calibration.conformal_rank(images, coverage)
    found = [
        min(1.0, calibration.set_threshold(random.random(images), coverage)) for _ in range(3000)
    ]

    law = stats.beta(rank, images + 1 - rank)
    assert stats.kstest(found, law.cdf).pvalue > 0.001
    assert np.mean(found) >= coverage - 3 * law.std() / math.sqrt(3000)
    assert calibration.coverage_interval(images, coverage) == pytest.approx(
        law.ppf([0.05, 0.95]), abs=1e-9
    )


@pytest.mark.parametrize("images", [50, 100, 300])
def test_sets_with_a_confidence_reach_the_coverage_that_often(images: int) -> None:
    random = np.random.default_rng(4)
    found = [
        min(1.0, calibration.set_threshold(random.random(images), 0.9, 0.9)) for _ in range(1000)
    ]
    assert np.mean(np.array(found) < 0.9) <= 0.1 + 3 * math.sqrt(0.09 / 1000)


@pytest.mark.parametrize(("coverage", "least"), [(0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_images_give_sets_of_all_labels(coverage: float, least: int) -> None:
    assert calibration.images_for(coverage) == least
    assert calibration.set_threshold(np.zeros(least - 1), coverage) == math.inf
    assert calibration.set_threshold(np.zeros(least), coverage) == 0
    assert calibration.coverage_interval(least - 1, coverage) == (1.0, 1.0)


def test_randomized_sets_are_smaller(logits: Any, truth: Any) -> None:
    p = softmax(logits)
    plain = calibration.score_labels(p, "raps")
    assert (calibration.score_labels(p, "raps", np.full(len(p), 0.4)) <= plain).all()
    assert (plain >= calibration.score_labels(p, "aps")).all()
    assert calibration.score_labels(p, "aps").max(axis=1) == pytest.approx(1)


# thresholds


@pytest.mark.parametrize("keep", [0.8, 0.9, 0.95])
def test_keep_turns_away_at_most_as_many_known_images_as_promised(keep: float) -> None:
    random = np.random.default_rng(5)
    away = [max(0.0, calibration.keep_threshold(random.random(100), keep)) for _ in range(3000)]
    assert 1 - keep - 0.015 <= np.mean(away) <= 1 - keep + 0.002


def test_few_images_turn_nothing_away() -> None:
    assert calibration.keep_threshold([0.5] * 18, 0.95) == -math.inf
    assert calibration.keep_threshold([], 0.9) == -math.inf


@pytest.mark.parametrize(("images", "error"), [(100, 0.2), (300, 0.1), (1000, 0.1)])
def test_an_error_threshold_is_exceeded_in_at_most_ten_percent_of_draws(
    images: int, error: float
) -> None:
    random = np.random.default_rng(6)
    exceeded = found = 0
    for _ in range(500):
        surety = random.random(images)
        threshold = calibration.error_threshold(surety, random.random(images) < surety**0.5, error)
        if threshold is not None:
            found += 1
            grid = np.linspace(threshold, 1, 2000)
            exceeded += float(np.mean(1 - grid**0.5)) > error
    assert found > 100
    assert exceeded / 500 <= 0.1


def test_an_error_threshold_needs_right_answers() -> None:
    assert calibration.answers_for(0.1) == 22
    assert calibration.answers_for(0.05) == 45
    assert calibration.error_threshold([0.5] * 21, [True] * 21, 0.1) is None
    assert calibration.error_threshold([0.5] * 22, [True] * 22, 0.1) == 0.5
    assert calibration.error_threshold([0.5] * 100, [False] * 100, 0.5) is None
    assert calibration.lowest_error([0.5] * 22, [True] * 22) == 0.1
    assert calibration.lowest_error([0.5] * 100, [False] * 100) == 1.0


# laws


@pytest.mark.parametrize(("count", "of", "share"), [(0, 5, 0.5), (7, 100, 0.1), (999, 1000, 0.99)])
def test_the_binomial_law_equals_scipy(count: int, of: int, share: float) -> None:
    wanted = stats.binom.cdf(count, of, share)
    assert calibration.binomial_cdf(count, of, share) == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize(("count", "of"), [(0, 22), (3, 50), (49, 50), (50, 50)])
def test_the_upper_bound_equals_scipy(count: int, of: int) -> None:
    wanted = 1.0 if count == of else stats.beta.ppf(0.9, count + 1, of - count)
    assert calibration.upper_bound(count, of, 0.9) == pytest.approx(wanted, abs=1e-9)


def test_impossible_counts_have_probability_0_or_1() -> None:
    assert calibration.binomial_cdf(-1, 5, 0.5) == 0
    assert calibration.binomial_cdf(5, 5, 0.5) == 1
    assert calibration.binomial_cdf(2, 5, 0) == 1
    assert calibration.binomial_cdf(2, 5, 1) == 0


# shift


@pytest.mark.parametrize(("first", "second"), [(50, 20), (50, 50), (176, 60)])
def test_shift_alarms_are_rarely_false(first: int, second: int) -> None:
    random = np.random.default_rng(7)
    alarms = [
        calibration.has_shifted(random.random(first), random.random(second), 0.05)
        for _ in range(2000)
    ]
    assert np.mean(alarms) <= 0.06
    alarms = [
        calibration.has_shifted(random.random(first), random.random(second)) for _ in range(2000)
    ]
    assert np.mean(alarms) <= 0.003


def test_shift_alarms_find_images_with_another_surety() -> None:
    random = np.random.default_rng(8)
    assert calibration.has_shifted(random.beta(8, 2, 50), random.beta(2, 4, 50))
    assert not calibration.has_shifted([], [0.5])


def test_the_shift_test_equals_scipy_near_its_level() -> None:
    random = np.random.default_rng(9)
    for shift in np.linspace(0, 0.6, 40):
        first, second = random.random(60), random.random(50) + shift
        p = stats.ks_2samp(first, second, method="asymp").pvalue
        if abs(math.log10(p) + 3) > 0.5:  # away from the level, where approximations differ
            assert calibration.has_shifted(first, second) == (p < 0.001)
