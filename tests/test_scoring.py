"""Predictions, sets and calibration keep their promises on simulated images."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.simulation import Simulation, simulate
from zeroshot import metrics
from zeroshot.answering import choose
from zeroshot.errors import HeadMismatch, InputError, ShiftWarning
from zeroshot.head import Head
from zeroshot.predictions import Failure, Prediction
from zeroshot.scoring import ShiftAlarm, calibrate, choose_sets, make_sets, rank, with_examples


@pytest.fixture(scope="module")
def drawn() -> Simulation:
    return simulate(20, 20, words=200, unknown=20, seed=1)


@pytest.fixture(scope="module")
def known() -> Simulation:
    return simulate(100, 20, seed=2)


def halves(drawn: Simulation, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.randperm(len(drawn.truth), generator=torch.Generator().manual_seed(seed))
    return order[: len(order) // 4], order[len(order) // 4 :]


def calibrated(head: Head, drawn: Simulation, rows: torch.Tensor) -> Head:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return calibrate(head, drawn.images[rows], drawn.truth[rows.numpy()])


# none of these


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


# calibration


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


# sets


@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_sets_contain_the_right_label_as_often_as_promised(
    known: Simulation, coverage: float, score: Any
) -> None:
    fit, test = halves(known)
    head = calibrated(known.head(), known, fit)
    thresholds, promise = choose_sets(head, coverage, None, False, score)

    found = make_sets(head, known.images[test], ["a"] * len(test), thresholds, score, promise)

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
    assert f"{coverage * 100:.0f} of 100 such sets contain the right label" in promise
    assert "With your 500 images the true figure lies between" in promise


def test_sets_per_label_name_the_labels_with_too_few_images(known: Simulation) -> None:
    head = calibrated(known.head(), known, torch.arange(0, 2000, 4))
    with pytest.raises(InputError, match=r"needs 9 calibration images of each label; too few for"):
        choose_sets(head, 0.9, None, True, "lac")
    thresholds, promise = choose_sets(head, 0.8, None, True, "lac")
    assert len(set(thresholds)) > 50
    assert "of each label contain" in promise


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


# answering


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


# trees


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


# examples


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
    thresholds, promise = choose_sets(head, 0.9, None, False, "lac")
    sets = make_sets(head, known.images[rest], ["a"] * len(rest), thresholds, "lac", promise)
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


# shift


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


# files


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
        first, second = (choose_sets(each, 0.9, None, False, kind)[0] for each in (head, found))  # type: ignore[arg-type]
        assert (first == second).all()
    assert found.calibration is not None
    assert str(found.calibration) == str(head.calibration)


def test_a_head_whose_labels_were_edited_is_rejected(known: Simulation, tmp_path: Path) -> None:
    head = calibrated(known.head(), known, torch.arange(0, 2000, 20))
    edited = replace(head, labels=("another", *head.labels[1:]))
    edited.save(tmp_path / "head.safetensors")
    with pytest.raises(
        HeadMismatch, match="the labels and prompts were changed after its calibration"
    ):
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
    torch.testing.assert_close(both.logits(drawn.images[:9]), head.logits(drawn.images[:9]))
