"""Arguments of every type that callers have, or an error with value, expectation and advice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zeroshot import arguments
from zeroshot.errors import InputError, LabelError


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"cat.jpg"


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_count_accepts_every_kind_of_integer(value: Any) -> None:
    found = arguments.count("top", value, 1)

    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", None, True, np.float32(2), np.int64(0), [2]])
def test_count_rejects_other_values(value: Any) -> None:
    with pytest.raises(InputError, match=r"top=.* must be an integer of at least 1; try 5"):
        arguments.count("top", value, 1, "; try 5")


@pytest.mark.parametrize(("most", "value"), [(9, 10), (sys.maxsize, 2**70)])
def test_count_rejects_values_above_the_limit(most: int, value: int) -> None:
    with pytest.raises(InputError, match=f"top={value} must be an integer of at most {most}"):
        arguments.count("top", value, 1, most=most)


@pytest.mark.parametrize("value", [1.0, "2", None, torch.tensor(1, device="meta"), np.ones(2)])
def test_other_values_are_no_integer(value: Any) -> None:
    assert arguments.integer(value) is None


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_flag_accepts_bools_of_python_and_numpy(value: Any) -> None:
    found = arguments.flag("truncate", value)

    assert found == value
    assert type(found) is bool


@pytest.mark.parametrize("value", [0, 1, None, "", "no", [], np.array([True]), torch.ones(2)])
def test_flag_rejects_other_values(value: Any) -> None:
    with pytest.raises(InputError, match=r"truncate=.* must be True or False"):
        arguments.flag("truncate", value)


@pytest.mark.parametrize("value", ["Raise", "", None, np.array(["raise"]), ["raise"]])
def test_an_unknown_option_lists_the_known_ones(value: Any) -> None:
    assert arguments.one_of("on_error", "raise", ("raise", "yield")) == "raise"
    with pytest.raises(InputError, match=r"on_error=.* must be 'raise' or 'yield'"):
        arguments.one_of("on_error", value, ("raise", "yield"))


@pytest.mark.parametrize(("value", "expected"), [("cat", True), ("", True), ("\udc80", False)])
def test_text_can_be_encoded(value: str, expected: bool) -> None:
    assert arguments.is_text(value) is expected
    assert not arguments.is_text(value.encode(errors="replace"))


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), iter("ab"), np.array(["a", "b"])])
def test_collections_can_be_iterated(value: Any) -> None:
    assert list(arguments.iterator("labels", value)) == ["a", "b"]


@pytest.mark.parametrize("value", ["ab", b"ab", 5, None, np.array(5), torch.tensor(5), int])
def test_single_values_are_no_collection(value: Any) -> None:
    with pytest.raises(LabelError, match=r"expected labels to be a list, got .*; pass a list"):
        arguments.iterator("labels", value, LabelError)


def test_a_closed_file_is_no_collection(tmp_path: Path) -> None:
    with (tmp_path / "closed").open("w") as file:
        pass

    with pytest.raises(InputError, match="expected labels to be a list, got TextIOWrapper"):
        arguments.iterator("labels", file)


def test_an_error_of_the_callers_iterator_is_not_converted() -> None:
    def fail() -> Any:
        yield "a"
        raise ValueError("row 2")

    with pytest.raises(ValueError, match=r"^row 2$") as caught:
        list(arguments.iterator("labels", fail()))

    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("value", ["cat.jpg", Path("cat.jpg"), "\udc80"])
def test_text_and_paths_are_file_paths(value: Any) -> None:
    assert arguments.file_path(value) == Path(value)


@pytest.mark.parametrize("value", [None, 0, b"cat.jpg", "a\0b", "\ud800", BytesPath(), ["a"]])
def test_other_values_are_no_file_path(value: Any) -> None:
    with pytest.raises(LabelError, match=r"expected a path as str or os.PathLike, got"):
        arguments.file_path(value, LabelError)


def test_a_missing_method_is_named() -> None:
    arguments.require("encoder", "text", ("upper", "lower"), "pass a model")
    with pytest.raises(
        InputError, match=r"expected encoder with upper, embed, got str 'text' without embed; pass"
    ):
        arguments.require("encoder", "text", ("upper", "embed"), "pass a model")


def test_a_value_of_another_class_is_rejected() -> None:
    arguments.instance("head", "text", str, "make one")
    with pytest.raises(InputError, match=r"expected head to be a str, got int 5; make one"):
        arguments.instance("head", 5, str, "make one")


@pytest.mark.parametrize("value", [0, 1, -0.5, True, float("nan"), "0.5", None])
def test_a_share_lies_between_0_and_1(value: object) -> None:
    assert arguments.share("keep", 0.9) == 0.9
    with pytest.raises(InputError, match="expected keep between 0 and 1, got"):
        arguments.share("keep", value)


def test_a_set_or_dict_has_no_order_of_images() -> None:
    for values in ({"a"}, frozenset("a"), {"a": 1}):
        with pytest.raises(InputError, match="whose order is not that of other lists; pass a l"):
            arguments.in_order("truth", values)
    arguments.in_order("truth", ["a"])
    arguments.in_order("truth", {"a": 1}.keys())  # in order of insertion
