"""Unusable values of a head are found and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import FakeEncoder
from zeroshot import Head
from zeroshot.errors import InputError
from zeroshot.head_checks import problems

LABELS = ["red", "blue", "gray"]


def test_a_built_head_has_no_problems(encoder: FakeEncoder) -> None:
    assert list(problems(Head.build(encoder, LABELS))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["red", "blue", "gray"]},
        {"labels": ("red", "red", "gray")},
        {"weight": torch.zeros(3, 3)},
        {"weight": torch.eye(3).double()},
        {"weight": torch.eye(2)},
        {"weight": np.eye(3, dtype=np.float32)},
        {"logit_scale": "10"},
        {"logit_scale": 0.0},
        {"logit_bias": float("nan")},
        {"model": None},
        {"names": (("red",),)},
        {"names": (("red",), ("blue",), ())},
        {"templates": "{}"},
        {"prompts": "\udc80"},  # could not be saved
        {"scoring": "argmax"},
        {"calibration": 5},
        {"source": 5},
    ],
    ids=str,
)
def test_an_invalid_value_of_a_head_is_named(encoder: FakeEncoder, change: Any) -> None:
    head = Head.build(encoder, LABELS)
    (field,) = change

    with pytest.raises(InputError, match=rf"{field}.*(must|to) be|duplicate label"):
        replace(head, **change)
