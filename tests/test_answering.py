"""A classifier answers only when it is sure; the promise and the errors say what that means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from zeroshot.answering import choose
from zeroshot.calibration import Calibration
from zeroshot.errors import InputError

SURETY = np.linspace(0.01, 1, 100)
CALIBRATION = Calibration(
    truth=np.where(np.arange(100) < 20, -1, 0),
    surety=SURETY,
    right=SURETY > 0.3,
    scores={"lac": 1 - SURETY, "aps": SURETY, "raps": SURETY},
    inverse_temperature=1.2,
    method="images",
    labels="digest",
)


def given(**values: Any) -> Any:
    return {kind: values.get(kind) for kind in ("keep", "error", "below", "sure")}


def chosen(
    calibration: Any = CALIBRATION, *, words: bool = False, tree: bool = False, **v: Any
) -> Any:
    confidence = v.pop("confidence", 0.9)
    return choose(given(**v), confidence, calibration, has_words=words, has_tree=tree)


def test_keep_promises_how_many_known_images_are_turned_away() -> None:
    found = chosen(keep=0.9)
    assert found.threshold == pytest.approx(SURETY[20:][7])
    assert str(found) == (
        "At most 10 of 100 images that do show one of your labels are turned away. It says nothing "
        "about how many others get through. It holds for images like those you calibrated with."
    )


def test_error_promises_how_many_answers_are_wrong() -> None:
    found = chosen(error=0.1)
    assert 0.3 < found.threshold < 0.5
    assert "We are 90% sure that at most 10 of 100 answers given are wrong. " in str(found)
    assert str(found).endswith(
        "of your calibration images get no answer. It holds for images like those you calibrated "
        "with."
    )
    assert str(chosen(words=True, error=0.1)).endswith(
        "like those you calibrated with, with as many images of none of the labels."
    )


def test_below_promises_nothing() -> None:
    found = chosen(None, below=0.5)
    assert found.threshold == 0.5
    assert "promises nothing" in str(found)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "expected one of keep=, error=, below= or sure=, got none of them"),
        ({"keep": 0.9, "below": 0.5}, "got keep, below"),
        ({"keep": 1.5}, "expected keep between 0 and 1, got 1.5"),
        ({"keep": True}, "expected keep between 0 and 1, got True"),
        ({"error": 0}, "expected error between 0 and 1, got 0"),
        ({"below": float("nan")}, "expected below between 0 and 1, got nan"),
        ({"error": 0.1, "confidence": 1}, "expected confidence between 0 and 1, got 1"),
        ({"sure": 0.9}, "expects a tree of labels"),
        (
            {"keep": 0.999},
            "keep=0.999 needs 999 calibration images that show a label, there are 80",
        ),
        (
            {"error": 0.001},
            "cannot be shown with these 100 calibration images: the lowest that they",
        ),
        ({"error": 0.1, "calibration": None}, "requires a calibrated classifier"),
    ],
)
def test_what_cannot_be_promised_is_an_error(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says.replace("(", r"\(")) as caught:
        chosen(options.pop("calibration", CALIBRATION), **options)
    assert len(str(caught.value)) < 600


def test_an_error_with_words_needs_images_of_none_of_the_labels() -> None:
    known = replace(CALIBRATION, truth=np.zeros(100, np.int64))
    with pytest.raises(InputError, match=r"add images whose truth is None .*, or use keep="):
        chosen(known, words=True, error=0.1)
    assert chosen(known, words=True, keep=0.9)
    assert chosen(CALIBRATION, words=True, error=0.1)


def test_sure_is_for_trees() -> None:
    assert chosen(None, tree=True, sure=0.9).threshold == 0.9
