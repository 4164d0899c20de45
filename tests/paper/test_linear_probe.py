"""The linear probe is scikit-learn's logistic regression, with the paper's choice of C."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import zeroshot
from examples.paper.datasets.base import DataSet
from examples.paper.linear_probe import (
    Integers,
    choose,
    describe,
    fit,
    linear_probe,
    one_label,
    search,
    split,
)
from tests.support import photograph
from zeroshot.errors import InputError


def clouds(labels: int, count: int = 240, width: int = 12) -> tuple[torch.Tensor, Integers]:
    """Draw overlapping clouds of points, one for each label, in unequal numbers."""
    random = np.random.default_rng(labels)
    shares = random.dirichlet(np.full(labels, 5.0))
    truth = np.concatenate([np.arange(labels), random.choice(labels, count - labels, p=shares)])
    centers = 1.5 * random.normal(size=(labels, width))
    points = centers[truth] + 2 * random.normal(size=(count, width)) + 3
    return torch.from_numpy(points.astype(np.float32)), truth


# ---- the optimization


@pytest.mark.parametrize("labels", [2, 3, 6])
@pytest.mark.parametrize("c", [1e-3, 0.316, 10])
def test_fit_equals_scikit_learns_logistic_regression(labels: int, c: float) -> None:
    features, truth = clouds(labels)
    points = features.double().numpy()  # scikit-learn would work in float32
    expected = LogisticRegression(C=c, max_iter=10_000, tol=1e-9).fit(points, truth)

    found = fit(features, truth, labels, c, iterations=10_000, tolerance=1e-9)

    weight, bias = found.weight.numpy(), found.bias.numpy()
    if labels == 2:  # scikit-learn stores the difference of the two rows
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    size, offset = np.abs(expected.coef_).max(), np.abs(expected.intercept_).max()
    np.testing.assert_allclose(weight, expected.coef_, rtol=0, atol=1e-4 * size)
    np.testing.assert_allclose(bias, expected.intercept_, rtol=0, atol=1e-3 * offset)
    assert np.array_equal(found.predict(features), expected.predict(points))
    assert found.converged


def test_default_tolerance_gives_scikit_learns_default_predictions() -> None:
    features, truth = clouds(5, 400)
    points = features.double().numpy()
    expected = LogisticRegression(C=0.316, max_iter=1_000).fit(points, truth)

    found = fit(features, truth, 5, 0.316).predict(features)

    assert (found == expected.predict(points)).mean() > 0.99


def test_rows_in_parts_give_the_same_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth = clouds(4)
    whole = fit(features, truth, 4, 1.0, tolerance=1e-7)
    monkeypatch.setattr("examples.paper.linear_probe.ROWS", 50)

    found = fit(features, truth, 4, 1.0, tolerance=1e-7)

    torch.testing.assert_close(found.weight, whole.weight, atol=1e-4, rtol=0)
    assert np.array_equal(found.predict(features), whole.predict(features))


def test_label_without_training_images_is_never_predicted() -> None:
    features, truth = clouds(3)
    expected = fit(features, truth, 3, 1.0)

    found = fit(features, np.array([0, 2, 4])[truth], 6, 1.0)  # labels 1, 3 and 5 have none

    assert set(found.predict(10 * features).tolist()) <= {0, 2, 4}
    torch.testing.assert_close(found.weight[[0, 2, 4]], expected.weight)


def test_end_before_convergence_is_reported() -> None:
    features, truth = clouds(3)

    assert not fit(features, truth, 3, 1e6, iterations=2).converged


def test_training_images_of_one_label_are_an_error() -> None:
    with pytest.raises(InputError, match="at least 2 labels"):
        fit(torch.zeros(3, 2), np.zeros(3, np.int64), 4, 1.0)


# ---- the choice of C


@pytest.mark.parametrize("peak", [-48, -47, -33, -9, -8, -1, 0, 1, 7, 30, 48])
def test_search_finds_the_peak_among_97_values(peak: int) -> None:
    tried: list[float] = []

    def accuracy(c: float) -> float:
        tried.append(c)
        return -abs(8 * math.log10(c) - peak)

    c, best = search(accuracy)

    assert 8 * math.log10(c) == pytest.approx(peak)
    assert best == pytest.approx(0, abs=1e-9)
    assert len(tried) == len(set(tried)) <= 15
    assert tried[:7] == pytest.approx([1e-6, 1e-4, 1e-2, 1, 1e2, 1e4, 1e6])
    assert min(tried) >= 1e-6 * (1 - 1e-9)
    assert max(tried) <= 1e6 * (1 + 1e-9)


def test_search_prefers_the_smallest_c_of_equal_accuracy() -> None:
    assert search(lambda c: min(c, 1.0))[0] == pytest.approx(1)


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (4, 1), (5, 1), (10, 2), (100, 20)])
def test_validation_has_a_fifth_of_each_label(count: int, held: int) -> None:
    truth = np.repeat([0, 1, 2], count)

    chosen = split(truth)

    assert np.bincount(truth[chosen], minlength=3).tolist() == [held] * 3
    assert np.array_equal(split(truth), chosen)
    assert count < 10 or not np.array_equal(split(truth, seed=1), chosen)


def test_chosen_c_is_better_than_the_ends_of_the_range_on_new_points() -> None:
    features, truth = clouds(3, 1_000, width=20)
    train, test = slice(0, 300), slice(300, None)
    c, validation = choose(features[train], truth[train], 3)

    def accuracy(c: float) -> float:
        probe = fit(features[train], truth[train], 3, c)
        return float(probe.is_right(features[test], truth[test]).mean())

    assert accuracy(c) >= max(accuracy(1e-6), accuracy(1e6)) - 0.01
    assert 0.5 < validation <= 1


def test_one_image_for_each_label_is_too_few_to_choose() -> None:
    with pytest.raises(InputError, match="at least 2 training images"):
        choose(torch.eye(3), np.arange(3), 3)


# ---- on images


def data_set(per_label: int, seed: int, labels: tuple[str, ...] = ("dark", "light")) -> DataSet:
    images: list[Any] = []
    for n in range(per_label * len(labels)):
        shift = 90 * (n % len(labels)) - 60
        image = photograph(40, 40, seed=100 * seed + n).astype(int) // 2 + 64 + shift
        images.append(image.clip(0, 255).astype(np.uint8))
    return DataSet(images, [n % len(labels) for n in range(len(images))], labels)


def test_probe_of_a_model_learns_what_it_was_shown(tiny: zeroshot.Model) -> None:
    outcome = linear_probe(tiny, data_set(10, 1), data_set(15, 2))

    assert outcome.probe.weight.shape == (2, 32)  # features before the projection to 16 dimensions
    assert outcome.right.shape == (30,)
    assert outcome.right.mean() > 0.9
    text = describe(outcome)
    low, high = zeroshot.metrics.wilson_interval(int(outcome.right.sum()), 30)
    accuracy = f"{100 * outcome.right.mean():.1f} % ({100 * low:.1f}-{100 * high:.1f})"
    assert f"Test accuracy on 30 images {accuracy}." in text
    mean = np.mean([outcome.right[outcome.truth == label].mean() for label in (0, 1)])
    assert f"Mean per class {100 * mean:.1f} %" in text
    assert f"C = {outcome.probe.c:.4g}" in text


@pytest.mark.parametrize("truth", [[[0, 1], [0]], ["dark", "light"], [True, False]])
def test_several_labels_for_an_image_are_an_error(truth: Any) -> None:
    with pytest.raises(InputError, match="expected one label for each image"):
        one_label(DataSet(["a.jpg", "b.jpg"], truth, ("dark", "light")))


def test_negative_seed_is_an_error(tiny: zeroshot.Model) -> None:
    with pytest.raises(InputError, match="seed=-1 must be an integer of at least 0"):
        linear_probe(tiny, data_set(2, 1), data_set(2, 1), seed=-1)


def test_parts_with_other_labels_are_an_error(tiny: zeroshot.Model) -> None:
    with pytest.raises(InputError, match="the same labels"):
        linear_probe(tiny, data_set(2, 1), data_set(2, 1, ("light", "dark")))
