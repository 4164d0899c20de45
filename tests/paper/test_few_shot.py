"""Few-shot probes and mixed heads are measured on the test images of the zero-shot classifier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import zeroshot
from examples.paper.datasets.base import DataSet
from examples.paper.few_shot import Comparison, Line, describe, draw, few_shot
from tests.support import COLORS
from zeroshot.errors import InputError

LABELS = tuple(COLORS)


def data_set(per_label: int, seed: int) -> DataSet:
    """Draw images of a main color with noise, in a random order."""
    random = np.random.default_rng(seed)
    truth = random.permutation(np.tile(np.arange(3), per_label))
    shades = np.array(list(COLORS.values()))[truth, None, None]  # [n, 1, 1, 3]
    grain = random.normal(0, 60, (len(truth), 32, 32, 3))
    tint = random.normal(0, 20, (len(truth), 1, 1, 3))
    images = (0.4 * shades + 70 + grain + tint).clip(0, 255).astype(np.uint8)
    return DataSet(list(images), truth.tolist(), LABELS)


@pytest.fixture(scope="module")
def classifier(tiny: zeroshot.Model) -> zeroshot.Classifier:
    return tiny.classifier(list(LABELS), "{}")


@pytest.fixture(scope="module")
def comparison(tiny: zeroshot.Model, classifier: zeroshot.Classifier) -> Comparison:
    return few_shot(tiny, classifier, data_set(8, 1), data_set(20, 2), draws=2)


def test_every_number_of_images_that_all_labels_have_is_a_line(comparison: Comparison) -> None:
    assert [line.shots for line in comparison.lines] == [1, 2, 4, 8]
    assert comparison.fewest == 8
    for line in comparison.lines:
        assert line.probe.shape == line.mixed.shape == comparison.zero_shot.shape == (60,)
        assert set(np.unique(line.probe)) <= {0.0, 0.5, 1.0}  # of two draws


def test_zero_shot_answers_are_those_of_the_classifier(
    comparison: Comparison, classifier: zeroshot.Classifier
) -> None:
    test = data_set(20, 2)

    expected = classifier.predict(test.images) == np.array(LABELS)[test.truth]

    assert np.array_equal(comparison.zero_shot, expected)


def test_probes_learn_from_more_images(comparison: Comparison) -> None:
    first, last = comparison.lines[0], comparison.lines[-1]

    assert last.probe.mean() > 0.8  # random labels are right for a third
    assert last.probe.mean() >= first.probe.mean()


def test_mixed_head_is_that_of_with_examples(
    tiny: zeroshot.Model, classifier: zeroshot.Classifier
) -> None:
    train, test = data_set(8, 1), data_set(20, 2)
    chosen = draw(np.asarray(train.truth), 8, 5).tolist()
    mixed = classifier.with_examples(
        [train.images[n] for n in chosen], [train.labels[train.truth[n]] for n in chosen]
    )
    expected = mixed.predict(test.images) == np.array(LABELS)[test.truth]

    found = few_shot(tiny, classifier, train, test, shots=[8], draws=1, seed=5)

    assert np.array_equal(found.lines[0].mixed, expected)


def test_same_seed_gives_the_same_result(
    tiny: zeroshot.Model, classifier: zeroshot.Classifier
) -> None:
    runs = [
        few_shot(tiny, classifier, data_set(4, 1), data_set(9, 2), shots=[2], draws=1, seed=seed)
        for seed in (3, 3)
    ]

    assert np.array_equal(runs[0].lines[0].probe, runs[1].lines[0].probe)


def test_only_chosen_training_images_are_read(
    tiny: zeroshot.Model, classifier: zeroshot.Classifier
) -> None:
    train, test = data_set(10, 1), data_set(2, 2)
    kept = set(draw(np.asarray(train.truth), 2, 0).tolist())
    images = [image if n in kept else b"damaged" for n, image in enumerate(train.images)]

    found = few_shot(tiny, classifier, replace(train, images=images), test, shots=[1, 2], draws=1)

    assert [line.shots for line in found.lines] == [1, 2]


@pytest.mark.parametrize("shots", [1, 3, 7])
def test_draw_has_the_same_number_of_images_of_each_label(shots: int) -> None:
    truth = np.array([2, 0, 1] * 9 + [0] * 5)

    chosen = draw(truth, shots, 0)

    assert len(set(chosen.tolist())) == len(chosen)
    assert np.bincount(truth[chosen]).tolist() == [shots] * 3
    assert set(chosen.tolist()) <= set(draw(truth, shots + 2, 0).tolist())
    assert not np.array_equal(draw(truth, shots, 1), chosen)


def test_label_without_training_images_is_an_error(
    tiny: zeroshot.Model, classifier: zeroshot.Classifier
) -> None:
    train = data_set(4, 1)
    kept = [n for n, column in enumerate(train.truth) if column != 1]
    partial = DataSet([train.images[n] for n in kept], [train.truth[n] for n in kept], LABELS)

    with pytest.raises(
        InputError, match="expected at least 1 training images of every label, got 0"
    ):
        few_shot(tiny, classifier, partial, data_set(2, 2))


def test_negative_seed_is_an_error(tiny: zeroshot.Model, classifier: zeroshot.Classifier) -> None:
    with pytest.raises(InputError, match="seed=-1 must be an integer of at least 0"):
        few_shot(tiny, classifier, data_set(2, 1), data_set(2, 2), seed=-1)


def test_labels_in_another_order_are_an_error(
    tiny: zeroshot.Model, classifier: zeroshot.Classifier
) -> None:
    other = replace(data_set(2, 1), labels=LABELS[::-1])

    with pytest.raises(InputError, match="the classifier's labels"):
        few_shot(tiny, classifier, other, other)


def test_table_has_a_row_for_each_line_and_says_what_is_left_out() -> None:
    zero_shot = np.arange(100) < 50
    found = Comparison(zero_shot, (Line(1, np.ones(100), np.full(100, 0.5)),), 3)

    text = describe(found)

    assert "Zero-shot accuracy on 100 images 50.0 % (40.4-59.6)." in text
    (row,) = [line for line in text.splitlines() if line.startswith("     1 ")]
    assert row.split()[:3] == ["1", "100.0", "%"]  # equal resamples give no interval
    assert "+50.0 (+" in row
    assert row.endswith("50.0 %")
    assert "A label has 3 training images, so [4, 8, 16] are left out." in text


def test_change_that_is_equal_for_all_images_has_no_interval() -> None:
    found = Comparison(np.zeros(9, bool), (Line(1, np.ones(9), np.ones(9)),), 16)

    assert "+100.0  " in describe(found)
