"""Values of kept columns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.sinks.values import convert_kept, infer_kind, to_text


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None], "bool"),
        ([1, None, 2], "int64"),
        ([1, 2.5], "double"),
        ([2**63 - 1, -(2**63)], "int64"),
        ([2**63], "string"),
        ([2**60 + 1, 0.5], "string"),
        ([1, "a"], "string"),
        ([True, 1], "string"),
        ([None], "string"),
        ([], "string"),
    ],
)
def test_the_type_of_a_column_is_the_narrowest(values: list[Any], kind: str) -> None:
    assert infer_kind(values) == kind


def test_values_that_are_no_text_become_json() -> None:
    values = ["a", None, 3, {"b": [1, b"x"]}, np.float32(0.5)]

    assert convert_kept(values, "string") == ["a", None, "3", '{"b": [1, "eA=="]}', "0.5"]
    assert convert_kept([1], "int64") == [1]


def test_half_of_a_surrogate_pair_is_escaped_at_any_depth() -> None:
    value = {"a\ud800": ["\udcff", {"b": "\ud800"}]}

    assert json.loads(to_text(value) or "") == {"a\\ud800": ["\\udcff", {"b": "\\ud800"}]}
    to_text(value).encode("utf-8")  # type: ignore[union-attr]


@given(st.binary(max_size=20))
def test_every_file_name_becomes_utf_8(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")

    found = to_text(text)

    assert found is not None
    found.encode("utf-8")
