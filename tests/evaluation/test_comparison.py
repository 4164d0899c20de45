"""Classifiers and templates are compared on the same images, with paired intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from tests.support import FakeEncoder
from zeroshot.classifier import Classifier
from zeroshot.errors import InputError
from zeroshot.evaluation.answers import Embeddings, answer, as_embeddings
from zeroshot.evaluation.comparison import changes, excludes_zero, template_effects
from zeroshot.evaluation.figures import Figure
from zeroshot.head import Head

LABELS = {"red": ["red", "rrr"], "green": ["green"], "blue": ["blue"]}
TEMPLATES = ["{}", "r {}", "gg {} b"]


@pytest.fixture
def embeddings() -> Embeddings:
    rows = np.abs(np.random.default_rng(0).normal(size=(60, 3))).astype(np.float32)
    found = as_embeddings(rows / np.linalg.norm(rows, axis=1, keepdims=True), 3)
    assert found is not None
    return found


def classifier(templates: list[str]) -> Classifier:
    encoder = FakeEncoder()
    return Classifier(encoder, Head.build(encoder, LABELS, templates))


def test_a_change_is_the_mean_of_paired_differences() -> None:
    base = np.array([True, True, False, False] * 25)
    other = np.stack([base, ~base, np.ones(100, bool)], axis=1)

    same, swapped, better = changes(other, base, draws=500)

    most = zeroshot.metrics.wilson_interval(0, 100)[1]  # 3.7 percentage points may differ
    assert same == Figure(0.0, -most, most)
    assert swapped.value == 0.0
    assert better.value == 0.5
    assert better.low is not None
    assert better.high is not None
    assert 0.35 < better.low < 0.5 < better.high < 0.65
    assert [excludes_zero(each) for each in (same, swapped, better)] == [False, False, True]


def test_a_paired_interval_is_narrower_than_that_of_independent_images() -> None:
    random = np.random.default_rng(0)
    base = random.random(200) < 0.6
    other = base ^ (random.random(200) < 0.02)

    change = changes(other[:, None], base)[0]

    assert change.low is not None
    assert change.high is not None
    assert change.high - change.low < 0.06


@pytest.mark.parametrize(("differing", "outside"), [(1, False), (5, False), (6, True)])
def test_a_few_differing_images_are_no_difference(differing: int, outside: bool) -> None:
    base = np.ones(differing, bool)

    change = changes(~base[:, None], base, draws=200)[0]

    most = zeroshot.metrics.wilson_interval(0, differing)[1]
    assert change.value == change.low == -1.0
    assert change.high == (most - 1 if outside else 0.0)
    assert excludes_zero(change) == outside


def test_template_effects_equal_those_of_rebuilt_heads(embeddings: Embeddings) -> None:
    truth = np.random.default_rng(1).integers(0, 3, 60)

    def top1(templates: list[str]) -> float:
        return float(answer(classifier(templates).head, embeddings, truth).right.mean())

    base = top1(TEMPLATES)
    found = template_effects(classifier(TEMPLATES), embeddings, truth, draws=50)

    assert [each.template for each in found] == TEMPLATES
    for each in found:
        rest = [template for template in TEMPLATES if template != each.template]
        assert each.top1.value == pytest.approx(top1([each.template]))
        assert each.alone.value == pytest.approx(top1([each.template]) - base)
        assert each.without is not None
        assert each.without.value == pytest.approx(top1(rest) - base)
    assert len({each.top1.value for each in found}) > 1


def test_the_only_template_cannot_be_left_out(embeddings: Embeddings) -> None:
    (found,) = template_effects(classifier(["{}"]), embeddings, np.zeros(60, int), draws=9)

    assert found.without is None
    most = zeroshot.metrics.wilson_interval(0, 60)[1]
    assert found.alone == Figure(0.0, -most, most)


def test_a_head_of_other_rows_is_rejected(embeddings: Embeddings) -> None:
    built = classifier(TEMPLATES)
    foreign = Classifier(built.encoder, replace(built.head, weight=torch.eye(3)))

    with pytest.raises(InputError, match="rows that are not their mean"):
        template_effects(foreign, embeddings, np.zeros(60, int))


def evaluated(images: Any, truth: Any, prompts: Any = "{}") -> zeroshot.Report:
    return zeroshot.evaluate(classifier(prompts), images, truth, draws=9)


def test_reports_on_the_same_images_are_compared(embeddings: Embeddings) -> None:
    images, truth = embeddings.rows, [0, 1, 2] * 20
    base, other = evaluated(images, truth), evaluated(images, truth, ["gg {} b"])

    found = other.compare(base)

    expected = other.figures["top1"].value - base.figures["top1"].value
    assert found.change.value == pytest.approx(expected)
    assert found.top1 == other.figures["top1"]
    assert other.compare(base, name="mine").name == "mine"


def test_reports_on_other_images_are_not_compared(embeddings: Embeddings) -> None:
    images = embeddings.rows
    base = evaluated(images, [0] * 60)

    for other in (evaluated(images[:9], [0] * 9), evaluated(images, [1] * 60)):
        with pytest.raises(InputError, match="expected reports on the same images and labels"):
            other.compare(base)
    with pytest.raises(InputError, match="got other embeddings of one model; evaluate both"):
        evaluated(images.flip(0), [0] * 60).compare(base)
    with pytest.raises(InputError, match="requires one right label per image"):
        base.compare(evaluated(images, [[0]] * 60))
    with pytest.raises(InputError, match="expected a Report, got float"):
        base.compare(0.5)  # type: ignore[arg-type]


def test_a_threshold_is_compared_with_answering_every_image(embeddings: Embeddings) -> None:
    built, truth = classifier(["{}"]), [0, 1, 2] * 20
    base = zeroshot.evaluate(built, embeddings.rows, truth, draws=9)
    careful = zeroshot.evaluate(built.answering(below=0.99), embeddings.rows, truth, draws=9)

    found = careful.compare(base)

    assert found.change.value == pytest.approx(
        careful.figures["top1"].value - base.figures["top1"].value
    )
    assert found.change.value < 0
    unknown = zeroshot.evaluate(
        built.answering(below=0.99), embeddings.rows, [None, 1, 2] * 20, draws=9
    )
    with pytest.raises(InputError, match="got another truth"):
        unknown.compare(base)
