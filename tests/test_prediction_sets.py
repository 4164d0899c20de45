"""Sets contain the right label as often as promised, on simulated images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.simulation import Simulation, calibrated, halves, simulate
from zeroshot.errors import InputError
from zeroshot.head import Head
from zeroshot.prediction_sets import choose_sets, make_sets
from zeroshot.scoring import rank


@pytest.fixture(scope="module")
def drawn() -> Simulation:
    return simulate(20, 20, words=200, unknown=20, seed=1)


@pytest.fixture(scope="module")
def known() -> Simulation:
    return simulate(100, 20, seed=2)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_sets_contain_the_right_label_as_often_as_promised(
    known: Simulation, coverage: float, score: Any
) -> None:
    fit, test = halves(known)
    head = calibrated(known.head(), known, fit)
    rule = choose_sets(head, coverage, None, False, score)

    found = make_sets(head, known.images[test], ["a"] * len(test), rule)

    inside = np.mean(
        [
            head.labels[row] in each
            for each, row in zip(found, known.truth[test.numpy()], strict=True)
        ]
    )
    assert inside >= coverage - 0.03
    assert inside <= coverage + 0.04 or score != "lac"
    assert min(map(len, found)) >= 1
    assert found[0].labels[0] == rank(head, known.images[test[:1]], top=1)[0].label
    assert f"{coverage * 100:.0f} of 100 such sets contain the right label" in rule.promise
    assert "With your 500 images the true figure " in rule.promise


def test_sets_per_label_name_the_labels_with_too_few_images(known: Simulation) -> None:
    head = calibrated(known.head(), known, torch.arange(0, 2000, 4))
    with pytest.raises(InputError, match=r"needs 9 calibration images of each label; too few for"):
        choose_sets(head, 0.9, None, True, "lac")
    rule = choose_sets(head, 0.8, None, True, "lac")
    assert len(set(rule.thresholds)) > 50
    assert "of each label contain" in rule.promise


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((0.95, None), "coverage 0.95 needs 19 calibration images that show a label, there are 12"),
        ((0.9, 0.9), "coverage 0.9 needs 22 calibration images"),
        ((1.0, None), "expected coverage between 0 and 1, got 1.0"),
        ((True, None), "expected coverage between 0 and 1, got True"),
        ((0.9, 2), "expected confidence between 0 and 1, got 2"),
    ],
)
def test_a_coverage_that_the_images_cannot_give_is_an_error(
    known: Simulation, options: Any, says: str
) -> None:
    head = calibrated(known.head(), known, torch.arange(0, 40))
    assert head.calibration is not None
    truth = np.where(np.arange(40) < 12, head.calibration.truth, -1)
    head = replace(head, calibration=replace(head.calibration, truth=truth))
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        choose_sets(head, *options, False, "lac")


def test_sets_and_promises_need_a_calibration(known: Simulation) -> None:
    with pytest.raises(InputError, match="requires a calibrated classifier"):
        choose_sets(known.head(), 0.9, None, False, "lac")
    with pytest.raises(InputError, match="score"):
        choose_sets(known.head(), 0.9, None, False, "x")  # type: ignore[arg-type]


def test_a_saved_head_gives_equal_sets_and_thresholds(drawn: Simulation, tmp_path: Path) -> None:
    fit, test = halves(drawn)
    words = drawn.head(with_words=True)
    assert words.background is not None
    words = replace(
        words, background=replace(words.background, rows=words.background.rows.half().float())
    )
    head = calibrated(words, drawn, fit)
    path = tmp_path / "head.safetensors"
    head.save(path)

    found = Head.load(path)

    assert rank(found, drawn.images[test], top=3) == rank(head, drawn.images[test], top=3)
    for kind in ("lac", "aps", "raps"):
        first, second = (choose_sets(each, 0.9, None, False, kind) for each in (head, found))  # type: ignore[arg-type]
        assert (first.thresholds == second.thresholds).all()
    assert found.calibration is not None
    assert str(found.calibration) == str(head.calibration)


def test_sets_of_a_head_with_words_promise_nothing_for_images_of_none(drawn: Simulation) -> None:
    end = "If an image shows none of your labels, no set contains the truth."
    fit, _ = halves(drawn)
    for with_words in (True, False):
        rows = fit[torch.from_numpy(drawn.truth[fit.numpy()] >= 0)]
        head = calibrated(drawn.head(with_words=with_words), drawn, rows)
        for confidence in (None, 0.9):
            promise = choose_sets(head, 0.8, confidence, False, "lac").promise
            assert promise.endswith(end) == with_words


def test_a_coverage_below_the_accuracy_is_a_lower_bound(known: Simulation) -> None:
    head = calibrated(known.head(), known, torch.arange(0, 2000, 20))
    assert head.calibration is not None
    share = {}
    for accuracy in (0.85, 0.98):
        right = np.arange(100) < 100 * accuracy
        changed = replace(head.calibration, right=right)
        rule = choose_sets(replace(head, calibration=changed), 0.9, None, False, "lac")
        share[accuracy] = (str(changed), rule.promise)
    assert "lies between 85% and 94% in 9 of 10 calibrations." in share[0.85][0]
    assert "the true figure lies between 85 and 94 in 9 of 10 calibrations." in share[0.85][1]
    assert "is 85% or more in 9 of 10 calibrations; it is probably higher" in share[0.98][0]
    assert (
        "With your 100 images the true figure is 85 or more in 9 of 10 calibrations; it is "
        "probably higher than 90 here, because a set always contains the best label."
        in share[0.98][1]
    )
