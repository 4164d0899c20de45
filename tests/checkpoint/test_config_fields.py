"""Fields of a config file are read one by one, and errors name the file and the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zeroshot.checkpoint.config_fields import Fields, read_config
from zeroshot.errors import IncompatibleWeights


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b" " * 2**20 + b"{}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "list", "cut", "not-utf8", "deep", "large", "digits"],
)
def test_malformed_config_file_is_rejected(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(IncompatibleWeights, match=r"config\.json"):
        read_config(tmp_path / "config.json")


def fields(**content: Any) -> Fields:
    return Fields(content, "x.json", "part.")


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), (None, 7), ([3, 3], 3), ([3], 3), (2**31 - 1, 2**31 - 1)]
)
def test_number_is_a_positive_integer_or_two_equal_ones(value: Any, expected: int) -> None:
    assert fields(a=value).number("a", 7) == expected


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.0, "3", True, [3, 4], [3, 3, 3], [], {}, None])
def test_other_values_are_no_number(value: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=r"x\.json: part\.a is .*, expected a positive"):
        fields(a=value).number("a")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**32, "1", None, [1.0], True])
def test_other_values_are_no_real_number(value: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=r"x\.json: part\.a is .*, expected a number"):
        fields(a=value).real("a", 1.0)


def test_missing_real_number_has_its_default() -> None:
    assert fields().real("a", 0.5) == 0.5
    assert fields(a=2).real("a", 0.5) == 2.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [([1, 2, 3], (1.0, 2.0, 3.0)), (0.5, (0.5, 0.5, 0.5)), (0, (0.0, 0.0, 0.0))],
)
def test_channels_are_three_numbers_or_one_for_all(value: Any, expected: Any) -> None:
    assert fields(a=value).channels("a") == expected


@pytest.mark.parametrize(
    "value",
    [[1, 2], [1, 2, "3"], [1, 2, float("nan")], "red", 1e9, None, True, [False, True, True]],
)
def test_other_values_are_no_channels(value: Any) -> None:
    with pytest.raises(IncompatibleWeights, match="three numbers, one per color channel"):
        fields(a=value).channels("a")


def test_part_has_a_longer_prefix_and_an_absent_one_is_empty() -> None:
    part = Fields({"a": {"b": {"c": 0}}}, "x.json").part("a").part("b")

    assert part.prefix == "a.b."
    with pytest.raises(IncompatibleWeights, match=r"x\.json: a\.b\.c is 0"):
        part.number("c")
    assert part.part("absent").content == {}


@pytest.mark.parametrize("value", [[1], [], 0, False, ""])
def test_part_that_is_no_object_is_named(value: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=r"x\.json: expected a\.b to be a JSON object"):
        Fields({"a": {"b": value}}, "x.json").part("a").part("b")


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), (None, False)])
def test_switch_is_true_or_false(value: Any, expected: bool) -> None:
    assert fields(a=value).flag("a") is expected


@pytest.mark.parametrize("value", ["true", "", 2, -1, 1.0, [], {}])
def test_other_values_are_no_switch(value: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=r"part\.a is .*, expected true or false"):
        fields(a=value).flag("a")


def test_required_value_may_be_absent_and_not_different() -> None:
    fields(a=None).require(a=3, b=True)
    fields(a=3).require(a=3)

    with pytest.raises(IncompatibleWeights, match=r"part\.a is 4, expected 3"):
        fields(a=4).require(a=3)


def test_long_values_are_shortened_in_errors() -> None:
    with pytest.raises(IncompatibleWeights) as caught:
        fields(a="x" * 10_000).number("a")

    assert len(str(caught.value)) < 200


def test_choice_returns_what_a_name_stands_for() -> None:
    values = {"mlp": 2, None: 0}

    assert fields(a="mlp").choice("a", values, "mlp") == 2
    assert fields().choice("a", values, "mlp") == 2
    assert fields(a=None).choice("a", values, "mlp") == 0


@pytest.mark.parametrize("value", ["linear", ["mlp"], 3, True])
def test_unknown_choice_is_rejected_with_the_known_ones(value: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=r"part\.a is .*, expected one of mlp, null"):
        fields(a=value).choice("a", {"mlp": 2, None: 0}, "mlp")
