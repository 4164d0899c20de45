"""A classifier with independent scores: truth, calibration, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from zeroshot.answering import Answering
from zeroshot.errors import InputError, LabelError

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
CAT, ROCKET, BOATS = (PHOTOS / f"{name}.jpg" for name in ("cat", "rocket", "boats"))


@pytest.fixture(scope="module")
def mini() -> zeroshot.Model:
    return zeroshot.load("mini", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def tags(mini: zeroshot.Model) -> zeroshot.Classifier:
    return mini.classifier(["cat", "dog", "rocket"], scores="independent")


@pytest.fixture(scope="module")
def calibrated(tags: zeroshot.Classifier) -> zeroshot.Classifier:
    return tags.calibrate([CAT, ROCKET] * 25, [["cat"], ["rocket"]] * 25)


def test_logits_of_embeddings_have_a_row_for_each_image(
    mini: zeroshot.Model, tags: zeroshot.Classifier
) -> None:
    rows = mini.encode_image([CAT, ROCKET])
    found = tags.head.logits(rows)
    assert found.shape == (2, 3)
    torch.testing.assert_close(tags.head.logits(rows[0]), found[0])
    torch.testing.assert_close(tags.head.logits(rows.unsqueeze(1)), found)
    assert found.argmax(dim=1).tolist() == [0, 2]


def test_no_label_is_no_label(tags: zeroshot.Classifier) -> None:
    images = [CAT, ROCKET, BOATS] * 17
    listed: Any = [["cat"], ["rocket"], []] * 17
    none: Any = (each or None for each in listed)  # a generator

    first, second = tags.calibrate(images, listed), tags.calibrate(images, none)

    assert first.head.logistic == second.head.logistic
    assert first(BOATS).labels == ()
    assert first(ROCKET).labels == ("rocket",)
    assert "calibrated" in repr(first)
    assert "calibrated" not in repr(tags)


@pytest.mark.parametrize("truth", [None, "none of these"])
def test_none_is_no_class_of_independent_scores(tags: zeroshot.Classifier, truth: Any) -> None:
    with pytest.raises(LabelError, match="means none of the labels, which is no class of"):
        tags.score([CAT], [truth])
    with pytest.raises(LabelError, match="means none of the labels, which is no class of"):
        tags.calibrate([CAT] * 20, [[truth]] * 20)
    assert tags.score([CAT], ["cat"]) == 1.0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda c: c.answering(below=0.5), "answering"),
        (lambda c: c.answering(keep=0.9), "answering"),
        (lambda c: c.answering(error=0.1), "answering"),
        (lambda c: c.answering(sure=0.9), "answering"),
        (
            lambda c: zeroshot.Classifier(c.encoder, c.head, Answering("below", 0.5, 0.5, "")),
            "answering",
        ),
        (lambda c: c.predict_set([CAT]), "predict_set"),
        (lambda c: list(c.stream_sets([CAT])), "predict_set"),
        (lambda c: c.with_examples([CAT, ROCKET], ["cat", "rocket"]), "with_examples"),
    ],
)
def test_what_needs_one_label_per_image_is_refused(
    tags: zeroshot.Classifier, calibrated: zeroshot.Classifier, call: Any, name: str
) -> None:
    for each in (tags, calibrated):
        with pytest.raises(InputError, match=f"{name} expects a classifier that gives one") as it:
            call(each)
        assert len(str(it.value)) < 600


def test_embeddings_are_evaluated(mini: zeroshot.Model, tags: zeroshot.Classifier) -> None:
    rows = np.asarray(mini.encode_image([CAT, ROCKET]).cpu().numpy())
    report = zeroshot.evaluate(tags, rows, [["cat"], ["rocket"]])
    assert report.n == 2
