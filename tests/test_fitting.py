"""Calibration and examples on simulated images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.simulation import Simulation, calibrated, halves, simulate
from zeroshot import metrics
from zeroshot.errors import HeadMismatch, InputError
from zeroshot.fitting import calibrate, with_examples
from zeroshot.head import Head
from zeroshot.prediction_sets import choose_sets, make_sets
from zeroshot.scoring import rank


@pytest.fixture(scope="module")
def drawn() -> Simulation:
    return simulate(20, 20, words=200, unknown=20, seed=1)


@pytest.fixture(scope="module")
def known() -> Simulation:
    return simulate(100, 20, seed=2)


def test_calibration_makes_probabilities_true(known: Simulation) -> None:
    fit, test = halves(known)
    head = calibrated(known.head(), known, fit)
    truth = known.truth[test.numpy()]

    errors = []
    for each in (known.head(), head):
        p = each.probabilities(each.logits(known.images[test])).numpy()
        right = p.argmax(axis=1) == truth
        errors.append(float(metrics.calibration_error(p.max(axis=1), right)))

    assert errors[1] < 0.035
    assert errors[1] <= errors[0] + 0.005
    assert head.calibration is not None
    assert str(head.calibration).startswith("Calibrated on 500 images: inverse temperature ")


@pytest.mark.parametrize("unknown", [0, 8])
def test_calibration_with_words_makes_open_probabilities_true(unknown: int) -> None:
    drawn = simulate(8, 60, words=500, unknown=unknown, seed=1)
    fit, test = halves(drawn)
    plain = drawn.head(with_words=True)
    head = calibrated(plain, drawn, fit)
    truth = drawn.truth[test.numpy()]
    before, after = (
        each.probabilities(each.logits(drawn.images[test])).numpy() for each in (plain, head)
    )
    best = after[:, :8].max(axis=1)

    error = float(metrics.calibration_error(best, after[:, :8].argmax(axis=1) == truth))

    assert error <= metrics.calibration_floor(best)[1]
    assert np.mean(after[:, 8]) == pytest.approx(np.mean(truth < 0), abs=0.06)
    assert np.mean(before[:, 8]) > np.mean(truth < 0) + 0.15
    assert ("so the score of none says nothing." in str(head.calibration)) == (unknown == 0)
    found = [(each.label, each.instead) for each in rank(head, drawn.images[test], top=1)]
    assert found == [(p.label, p.instead) for p in rank(plain, drawn.images[test], top=1)]
    assert head.select(head.labels[:4]).none_offset == 0


def test_answers_do_not_change_by_calibration(known: Simulation) -> None:
    fit, test = halves(known)
    head = calibrated(known.head(), known, fit)
    labels = [each.label for each in rank(head, known.images[test], top=1)]
    assert labels == [each.label for each in rank(known.head(), known.images[test], top=1)]


@pytest.mark.parametrize(
    ("images", "says"), [(0, "got 0"), (19, "expected at least 20 calibration images, got 19")]
)
def test_too_few_images_are_an_error(known: Simulation, images: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        calibrate(known.head(), known.images[:images], known.truth[:images])


def test_few_images_and_absent_labels_are_warnings(known: Simulation) -> None:
    with pytest.warns(UserWarning, match="calibration image") as caught:
        calibrate(known.head(), known.images[:40], known.truth[:40])
    texts = [str(each.message) for each in caught]
    assert "40 calibration images are few" in texts[0]
    assert "98 of 100 labels have no calibration image: label 2, label 3" in texts[1]


def test_examples_calibrate_with_each_image_left_out(known: Simulation) -> None:
    examples = torch.cat(
        [(torch.from_numpy(known.truth) == i).nonzero()[:4, 0] for i in range(100)]
    )
    rest = torch.from_numpy(np.setdiff1d(np.arange(2000), examples.numpy()))

    head = with_examples(known.head(), known.images[examples], known.truth[examples.numpy()], 4)

    assert head.calibration is not None
    assert head.calibration.method == "leave-one-out"
    truth = known.truth[rest.numpy()]
    before = np.mean(
        [
            p.label == f"label {t}"
            for p, t in zip(rank(known.head(), known.images[rest], top=1), truth, strict=True)
        ]
    )
    after = np.mean(
        [
            p.label == f"label {t}"
            for p, t in zip(rank(head, known.images[rest], top=1), truth, strict=True)
        ]
    )
    assert after > before + 0.01
    rule = choose_sets(head, 0.9, None, False, "lac")
    sets = make_sets(head, known.images[rest], ["a"] * len(rest), rule)
    inside = np.mean([f"label {t}" in each for each, t in zip(sets, truth, strict=True)])
    assert inside >= 0.87


def test_examples_cannot_calibrate_the_head_that_they_made(known: Simulation) -> None:
    head = with_examples(known.head(), known.images[:240:20], known.truth[:240:20], 4)
    assert head.calibration is None  # fewer than 20
    with pytest.raises(InputError, match="12 of these images made the head"):
        calibrate(head, known.images[::10], known.truth[::10])
    with pytest.raises(InputError, match="got one with 12; give all examples in one call"):
        with_examples(head, known.images[1:99], known.truth[1:99], 4)


@pytest.mark.parametrize("text", [-1, "much", True, float("inf"), None])
def test_an_invalid_weight_of_the_text_is_rejected(known: Simulation, text: Any) -> None:
    with pytest.raises(InputError, match="expected text to be 'auto' or a number of images"):
        with_examples(known.head(), known.images[:240:20], known.truth[:240:20], text)


def test_the_weight_of_the_text_is_chosen_by_leaving_examples_out() -> None:
    drawn = simulate(10, 30, seed=5)
    useless = replace(
        drawn.head(),
        weight=torch.nn.functional.normalize(
            drawn.labels[:1]
            + 0.01 * torch.randn(10, 512, generator=torch.Generator().manual_seed(0)),
            dim=1,
        ),
    )
    rows = torch.cat([torch.arange(30 * i, 30 * i + 6) for i in range(10)])
    truth = drawn.truth[rows.numpy()]
    auto = with_examples(useless, drawn.images[rows], truth, "auto")
    heavy = with_examples(useless, drawn.images[rows], truth, 8)

    def right(head: Head) -> float:
        found = rank(head, drawn.images, top=1)
        return float(
            np.mean([p.label == f"label {t}" for p, t in zip(found, drawn.truth, strict=True)])
        )

    assert right(auto) >= right(heavy)
    with pytest.raises(InputError, match="text='auto' needs 4 examples of every label"):
        with_examples(useless, drawn.images[::30], drawn.truth[::30], "auto")


def test_a_head_whose_labels_were_edited_is_rejected(known: Simulation, tmp_path: Path) -> None:
    head = calibrated(known.head(), known, torch.arange(0, 2000, 20))
    edited = replace(head, labels=("another", *head.labels[1:]))
    edited.save(tmp_path / "head.safetensors")
    with pytest.raises(HeadMismatch, match="the head was changed after its calibration"):
        Head.load(tmp_path / "head.safetensors")


def test_select_and_concatenation_keep_temperature_and_words(drawn: Simulation) -> None:
    fit, _ = halves(drawn)
    head = calibrated(drawn.head(with_words=True), drawn, fit)
    part = head.select(head.labels[:5])
    assert (part.calibration, part.inverse_temperature) == (None, head.inverse_temperature)
    assert part.background is head.background
    both = part + head.select(head.labels[5:])
    assert both.labels == head.labels
    assert both.background is head.background
    plain = replace(head, none_offset=0.0)
    torch.testing.assert_close(both.logits(drawn.images[:9]), plain.logits(drawn.images[:9]))


@pytest.mark.parametrize("unknown", [0, 20])
def test_sigmoid_scores_are_calibrated_over_pairs_of_image_and_label(unknown: int) -> None:
    drawn = simulate(20, 40, words=200 if unknown else 0, unknown=unknown, seed=3)
    fit, test = halves(drawn)
    plain = replace(drawn.head(with_words=unknown > 0), scoring="sigmoid", logit_bias=-30.0)
    head = calibrated(plain, drawn, fit)
    truth = drawn.truth[test.numpy()]

    p = head.probabilities(head.logits(drawn.images[test])).numpy()

    right = truth[:, None] == np.arange(20)
    assert head.logistic is not None
    assert p[:, :20].mean() == pytest.approx(right.mean(), abs=0.01)
    assert float(metrics.calibration_error(p[:, :20].ravel(), right.ravel())) < 0.02
    if unknown:
        assert p[:, 20].mean() == pytest.approx(np.mean(truth < 0), abs=0.06)
    assert head.calibration is not None
    known = torch.from_numpy(truth >= 0)
    for kind in ("lac", "aps"):
        rule = choose_sets(head, 0.9, None, False, kind)  # type: ignore[arg-type]
        sets = make_sets(head, drawn.images[test][known], ["a"] * int(known.sum()), rule)
        wanted = [head.labels[t] for t in truth[truth >= 0]]
        inside = np.mean([label in each for each, label in zip(sets, wanted, strict=True)])
        assert inside >= 0.87
        assert sets[0].probabilities[0] == pytest.approx(p[known.numpy()][0, :20].max(), abs=1e-5)
    found = [each.label for each in rank(head, drawn.images[test], top=1)]
    assert found == [each.label for each in rank(plain, drawn.images[test], top=1)]


@pytest.mark.parametrize("scoring", ["sigmoid", "independent"])
def test_scores_that_are_lower_for_right_labels_are_an_error(scoring: Any) -> None:
    drawn = simulate(4, 20, words=50, seed=3)
    head = replace(drawn.head(with_words=True), scoring=scoring)
    wrong: Any = np.asarray(
        head.logits(drawn.images).argmin(dim=1)
        if scoring == "independent"
        else head.similarities(drawn.images)[0].argmin(dim=1)
    )
    if scoring == "independent":
        wrong = (wrong[:, None] == np.arange(4)).astype(np.int64)
    with pytest.raises(InputError, match="expected right labels to score higher than wrong ones"):
        calibrate(head, drawn.images, wrong)


def test_images_of_none_of_the_labels_alone_cannot_calibrate(drawn: Simulation) -> None:
    none = torch.from_numpy(np.flatnonzero(drawn.truth < 0))[:24]
    with pytest.raises(InputError, match="expected calibration images that show a label, got 24"):
        calibrate(drawn.head(with_words=True), drawn.images[none], drawn.truth[none.numpy()])
    with pytest.raises(InputError, match="got 24 of none of the labels"):
        calibrate(
            drawn.head(scoring="independent"), drawn.images[:24], np.zeros((24, 20), np.int64)
        )
    rows = torch.cat([none, torch.arange(0, 400, 20)])
    with pytest.warns(UserWarning, match="calibration image") as caught:
        calibrate(drawn.head(with_words=True), drawn.images[rows], drawn.truth[rows.numpy()])
    assert "44 calibration images, 20 of them with a label, are few" in str(caught[0].message)


def test_repeated_images_are_a_warning(known: Simulation) -> None:
    rows = torch.cat([torch.arange(0, 2000, 29)] + [torch.arange(0, 2000, 290)] * 2)
    with pytest.warns(UserWarning, match="calibration image") as caught:
        calibrate(known.head(), known.images[rows], known.truth[rows.numpy()])
    assert "14 of 83 calibration images repeat others; promises are" in str(caught[0].message)
