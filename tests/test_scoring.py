"""Predictions of simulated images: words, thresholds, trees and the shift alarm."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.simulation import Simulation, calibrated, halves, simulate
from zeroshot import metrics
from zeroshot.answering import choose
from zeroshot.errors import ShiftWarning
from zeroshot.head import Head
from zeroshot.predictions import Failure, Prediction
from zeroshot.scoring import ShiftAlarm, rank


@pytest.fixture(scope="module")
def drawn() -> Simulation:
    return simulate(20, 20, words=200, unknown=20, seed=1)


@pytest.fixture(scope="module")
def known() -> Simulation:
    return simulate(100, 20, seed=2)


def test_images_of_other_things_are_turned_away_with_the_word_that_fits(drawn: Simulation) -> None:
    found = rank(drawn.head(with_words=True), drawn.images, top=2)
    none = np.array([each.label is None for each in found])
    unknown = drawn.truth < 0

    assert none[unknown].mean() > 0.8
    assert none[~unknown].mean() < 0.4
    assert all((each.instead is None) == (each.label is not None) for each in found)
    assert found[none.argmax()].instead in {f"word {i}" for i in range(200)}
    open_surety = np.array([each.probability for each in found])
    plain = np.array([each.probability for each in rank(drawn.head(), drawn.images, top=1)])
    better = metrics.auroc(open_surety[~unknown], open_surety[unknown])
    assert better > metrics.auroc(plain[~unknown], plain[unknown]) + 0.01


def test_probabilities_of_labels_and_none_sum_to_1(drawn: Simulation) -> None:
    head = drawn.head(with_words=True)
    p = head.probabilities(head.logits(drawn.images))

    assert p.shape == (len(drawn.images), 21)
    assert head.classes[-1] == "none of these"
    torch.testing.assert_close(p.sum(dim=1), torch.ones(len(p)), atol=1e-5, rtol=0)
    for each, row in zip(rank(head, drawn.images[:9], top=20), p[:9], strict=True):
        assert each.none == pytest.approx(float(row[-1]), abs=1e-6)
        assert sum(value for _, value in each.ranking) == pytest.approx(1 - each.none, abs=1e-5)


def test_without_words_nothing_changes(known: Simulation) -> None:
    head = known.head()
    found = rank(head, known.images[:5], top=3)
    wanted = (100 * known.images[:5] @ known.labels.T).softmax(dim=1)
    for each, row in zip(found, wanted, strict=True):
        assert each.probability == pytest.approx(float(row.max()), abs=1e-6)
        assert (each.none, each.instead, each.path, each.labels) == (None, None, None, None)


def test_keep_and_error_hold_for_new_images(drawn: Simulation) -> None:
    exceeded, away = 0, []
    for seed in range(20):
        fit, test = halves(drawn, seed)
        head = calibrated(drawn.head(with_words=True), drawn, fit)
        truth = drawn.truth[test.numpy()]

        def chosen(head: Head = head, **given: Any) -> Any:
            every = {kind: given.get(kind) for kind in ("keep", "error", "below", "sure")}
            return choose(every, 0.9, head.calibration, has_words=True, has_tree=False)  # type: ignore[arg-type]

        found = rank(head, drawn.images[test], top=1, answers=chosen(keep=0.9))
        away.append(
            np.mean([each.label is None for each, t in zip(found, truth, strict=True) if t >= 0])
        )
        found = rank(head, drawn.images[test], top=1, answers=chosen(error=0.2))
        wrong = [
            t < 0 or each.label != head.labels[t]
            for each, t in zip(found, truth, strict=True)
            if each.label is not None
        ]
        exceeded += bool(wrong) and np.mean(wrong) > 0.2
    assert np.mean(away) <= 0.115
    assert exceeded <= 4


def test_the_finest_name_that_is_sure_enough_is_the_answer(known: Simulation) -> None:
    paths = tuple((f"kind {i // 10}", f"label {i}") for i in range(100))
    head = replace(known.head(), paths=paths)

    def sure(value: float) -> list[Prediction]:
        given: Any = {"keep": None, "error": None, "below": None, "sure": value}
        answers = choose(given, 0.9, None, has_words=False, has_tree=True)
        return rank(head, known.images, top=1, answers=answers)

    plain = rank(head, known.images, top=1)
    assert plain[0].path == ("kind 0", plain[0].label)
    rates = []
    for value in (0.5, 0.8, 0.95):
        found = sure(value)
        answered = [(each, t) for each, t in zip(found, known.truth, strict=True) if each.label]
        assert all(each.probability >= value for each, _ in answered)
        assert all(each.path is not None and each.path[-1] == each.label for each, _ in answered)
        rates.append(np.mean([each.label in paths[t] for each, t in answered]))
    assert rates == sorted(rates)
    assert rates[-1] > 0.9
    assert {len(each.path) for each in sure(0.8) if each.path} == {1, 2}


def watch(head: Head, surety: Any) -> list[str]:
    images = [Prediction("a", each, (("a", each),)) for each in surety]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(list(ShiftAlarm(head).watch(iter([*images, Failure("b", OSError())])))) > 0
    return [str(each.message) for each in caught if issubclass(each.category, ShiftWarning)]


def test_images_that_look_different_are_a_warning(known: Simulation) -> None:
    head = calibrated(known.head(), known, torch.arange(0, 2000, 20))
    assert head.calibration is not None
    alike = np.resize(head.calibration.surety, 50)
    assert watch(head, alike) == []
    assert watch(head, alike[:10] * 0.1) == []  # fewer than 20
    assert "the first 25 images look different from the 100" in watch(head, alike[:25] * 0.1)[0]
    assert len(watch(head, np.resize(alike * 0.1, 300))) == 1


def test_a_threshold_decides_instead_of_the_words(drawn: Simulation) -> None:
    head = drawn.head(with_words=True)
    given: Any = {"keep": None, "error": None, "below": 0.5, "sure": None}
    answers = choose(given, 0.9, None, has_words=True, has_tree=False)

    found = rank(head, drawn.images, top=1, answers=answers)

    assert any("No answer: no label is sure enough." in str(each) for each in found)
    assert not any("No label fits as well as" in str(each) for each in found)
    assert all((each.label is None) == (each.probability < 0.5) for each in found)
