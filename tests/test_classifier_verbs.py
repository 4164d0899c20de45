"""Verbs of a classifier: none of these, calibrate, sets, answering, several labels and examples."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from zeroshot.errors import InputError, LabelError

PHOTOS = sorted((Path(__file__).parents[1] / "examples" / "photos").glob("*.jpg"))
NAMES = [path.stem for path in PHOTOS]
CAT = PHOTOS[NAMES.index("cat")]
COFFEE = PHOTOS[NAMES.index("coffee")]
ROCKET = PHOTOS[NAMES.index("rocket")]


@pytest.fixture(scope="module")
def mini() -> zeroshot.Model:
    return zeroshot.load("mini", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pets(mini: zeroshot.Model) -> zeroshot.Classifier:
    return mini.classifier(["cat", "dog"], none_of_these=True)


@pytest.fixture(scope="module")
def calibrated(mini: zeroshot.Model) -> zeroshot.Classifier:
    return mini.classifier(NAMES).calibrate(PHOTOS * 7, NAMES * 7)


# none of these


def test_an_image_of_none_of_the_labels_names_what_fits_better(pets: zeroshot.Classifier) -> None:
    found = pets(ROCKET)

    assert (found.label, found.instead) == (None, "missile")
    assert found.none is not None
    assert found.none > 0.99
    assert "No label fits as well as 'missile'." in str(found)
    assert "No label fits as well as &#x27;missile&#x27;." in found._repr_html_()
    assert found.to_dict()["label"] is None
    assert pets(CAT).label == "cat"
    assert pets(CAT).instead is None


def test_none_of_these_is_the_last_class(pets: zeroshot.Classifier) -> None:
    assert pets.classes_.tolist() == ["cat", "dog", "none of these"]
    assert pets.predict([CAT, ROCKET]).tolist() == ["cat", "none of these"]
    p = pets.predict_proba([CAT, ROCKET])
    assert p.shape == (2, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert pets.score([CAT, ROCKET], ["cat", None]) == 1.0  # type: ignore[list-item]
    assert pets.score([CAT, ROCKET], ["cat", "none of these"]) == 1.0
    assert repr(pets).startswith("<Classifier of 2 labels, or none of these on ")


def test_one_label_can_be_told_from_none(mini: zeroshot.Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        only = mini.classifier(["cat"], none_of_these=True)
    assert [only(CAT).label, only(ROCKET).label] == ["cat", None]


def test_without_the_option_answers_are_as_before(mini: zeroshot.Model) -> None:
    found = mini.classifier(["cat", "dog"])(ROCKET)
    assert found.label == "dog" or found.label == "cat"
    assert set(found.to_dict()) == {"source", "label", "probability", "ranking"}


def test_truth_none_needs_none_of_these(mini: zeroshot.Model) -> None:
    with pytest.raises(LabelError, match="make it with none_of_these=True"):
        mini.classifier(["cat", "dog"]).calibrate([CAT], [None])


# calibrate, sets, answering


def test_calibrate_returns_a_new_classifier(calibrated: zeroshot.Classifier) -> None:
    assert "calibrated" in repr(calibrated)
    assert calibrated.head.inverse_temperature > 1
    assert "Calibrated on 56 images" in str(calibrated.head.calibration)
    plain = calibrated.encoder.classifier(NAMES)  # type: ignore[attr-defined]
    assert plain.head.calibration is None
    assert calibrated(CAT).probability > plain(CAT).probability


def test_sets_contain_the_best_label(calibrated: zeroshot.Classifier) -> None:
    found = calibrated.predict_set(PHOTOS, coverage=0.9)
    assert [each.labels[0] for each in found] == NAMES
    assert [each.source for each in found] == list(map(str, PHOTOS))
    assert "cat" in found[NAMES.index("cat")]
    assert found[0].promise.startswith("90 of 100 such sets contain the right label, on average")
    assert calibrated.predict_set([]) == []
    assert len(calibrated.predict_set(CAT)) == 1


def test_answering_says_what_it_promises(calibrated: zeroshot.Classifier) -> None:
    careful = calibrated.answering(keep=0.9)
    assert "keep=0.9" in repr(careful)
    assert "At most 10 of 100 images" in str(careful.answers)
    assert careful(CAT).label == "cat"
    never = calibrated.answering(below=0.999999)
    found = never(CAT)
    assert found.label is None
    assert "No answer: no label is sure enough." in str(found)
    assert never.predict([CAT]).tolist() == ["none of these"]
    assert calibrated.answers is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: c.predict_set([CAT]), "predict_set requires a calibrated classifier"),
        (lambda c: c.answering(keep=0.9), "requires a calibrated classifier"),
        (lambda c: c.answering(), "expected one of keep=, error=, below= or sure="),
        (lambda c: c.calibrate([CAT] * 5, ["cat"] * 5), "at least 20 calibration images, got 5"),
        (lambda c: c.calibrate([CAT] * 20, ["cat"] * 19), "20 images but 19 truths"),
        (lambda c: c.calibrate(CAT, ["cat"]), "expected an iterable of images, got one image"),
        (lambda c: c.calibrate([CAT] * 20, ["cats"] * 20), "did you mean 'cat'"),
        (lambda c: c.calibrate([CAT] * 20, [9] * 20), "truth 9 is not the index of a label"),
        (lambda c: c.with_examples([], []), "expected at least one example"),
        (
            lambda c: c.with_examples([CAT], ["cat"]),
            "at least two labels, got only 'cat'",
        ),
        (
            lambda c: c.with_examples([CAT, CAT], ["cat", "dog"], text=-1),
            "text to be 'auto' or a number",
        ),
    ],
)
def test_what_is_missing_is_an_error(mini: zeroshot.Model, call: Any, says: str) -> None:
    classifier = mini.classifier(["cat", "dog"])
    with pytest.raises(InputError, match=says) as caught:
        call(classifier)
    assert len(str(caught.value)) < 600


# several labels


def test_several_labels_are_found_in_one_image(mini: zeroshot.Model) -> None:
    from PIL import Image

    both = Image.new("RGB", (448, 224))
    for place, path in ((0, CAT), (224, COFFEE)):
        both.paste(Image.open(path).convert("RGB").resize((224, 224)), (place, 0))
    tags = mini.classifier(["cat", "boat", "coffee", "bridge"], scores="independent")

    found = tags(both)

    assert {label for label, _ in found.ranking[:2]} == {"cat", "coffee"}
    assert found.labels is None
    assert tags.classes_.tolist() == ["cat", "boat", "coffee", "bridge"]
    p = tags.predict_proba([both])
    assert p.shape == (1, 4)
    assert p.max() <= 1


def test_independent_scores_are_calibrated_with_lists_of_labels(mini: zeroshot.Model) -> None:
    tags = mini.classifier(["cat", "dog", "rocket"], scores="independent")
    images, truth = [CAT, ROCKET] * 25, [["cat"], ["rocket"]] * 25

    fitted = tags.calibrate(images, truth)

    assert fitted.head.logistic is not None
    assert fitted(CAT).labels == ("cat",)
    assert fitted(ROCKET).to_dict()["labels"] == ("rocket",)
    with pytest.raises(InputError, match="expected the labels of each image as a list"):
        tags.calibrate(images, ["cat"] * 50)


# trees


def test_a_dict_of_dicts_is_a_tree(mini: zeroshot.Model) -> None:
    zoo = mini.classifier(
        {
            "animal": {"cat": "cat", "bee": ["bee", "honey bee"]},
            "vehicle": {"rocket": "rocket", "boat": "boat"},
        }
    )
    assert zoo.head.labels == ("cat", "bee", "rocket", "boat")
    assert zoo(CAT).path == ("animal", "cat")
    sure = zoo.answering(sure=0.5)
    assert sure(CAT).path == ("animal", "cat")
    assert sure(CAT).to_dict()["path"] == ("animal", "cat")
    with pytest.raises(LabelError, match="label 'cat' is in the tree twice"):
        mini.classifier({"a": {"cat": "cat"}, "b": {"cat": "cat"}})
    with pytest.raises(LabelError, match="expected labels below 'a', got an empty dict"):
        mini.classifier({"a": {}, "b": {"cat": "cat"}})


# examples


def test_examples_teach_a_label_that_its_name_does_not_tell(mini: zeroshot.Model) -> None:
    plain = mini.classifier(["zorp", "cat"])
    assert plain(ROCKET).label == "zorp" or plain(ROCKET).label == "cat"

    taught = plain.with_examples([ROCKET, CAT], ["zorp", "cat"])

    assert taught.predict([ROCKET, CAT]).tolist() == ["zorp", "cat"]
    assert len(taught.head.examples) == 2
    assert plain.head.examples == ()
    torch.testing.assert_close(taught.head.weight.norm(dim=1), torch.ones(2))


# answering before the fit


@pytest.mark.parametrize("kind", ["keep", "error"])
def test_a_threshold_of_another_calibration_is_not_kept(
    calibrated: zeroshot.Classifier, kind: Any
) -> None:
    careful = calibrated.answering(**{kind: 0.5})
    for call, name in ((careful.calibrate, "calibrate"), (careful.with_examples, "with_examples")):
        with pytest.raises(InputError, match=rf"call {name} first, then answering\({kind}=0.5\)"):
            call(PHOTOS * 7, NAMES * 7)


def test_a_threshold_without_a_promise_is_kept(mini: zeroshot.Model) -> None:
    never = mini.classifier(NAMES).answering(below=0.999999)
    fitted = never.calibrate(PHOTOS * 7, NAMES * 7)
    assert fitted.answers == never.answers
    assert never.with_examples([CAT, ROCKET], ["cat", "rocket"]).answers == never.answers
