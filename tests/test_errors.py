"""Every error inherits a builtin, has a docstring and can be pickled."""

from __future__ import annotations

import builtins
import inspect
import pickle
import re

import pytest

import zeroshot
from zeroshot import errors
from zeroshot.errors import ImageError, TokenLimitError, ZeroshotError

ALL = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}


@pytest.mark.parametrize("name", ALL)
def test_every_error_is_caught_by_the_base(name: str) -> None:
    assert issubclass(ALL[name], ZeroshotError)


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"ZeroshotError"}))
def test_every_error_is_also_a_builtin_one(name: str) -> None:
    ordinary = [c for c in ALL[name].__mro__ if vars(builtins).get(c.__name__) is c]
    assert ordinary[0] not in (Exception, BaseException)
    assert KeyError not in ordinary  # prints its message in quotes


def test_the_tree_in_the_docstring_matches_the_classes() -> None:
    drawn = re.findall(r"[│├└─ ]*(\w+)(?: \((\w+)\))?$", errors.__doc__ or "", re.MULTILINE)
    names = {name: builtin for name, builtin in drawn if name in ALL}
    assert names.keys() == ALL.keys()
    for name, builtin in names.items():
        if builtin:
            assert issubclass(ALL[name], vars(builtins)[builtin])


@pytest.mark.parametrize("name", ALL)
def test_every_error_has_a_docstring(name: str) -> None:
    assert (ALL[name].__doc__ or "").strip().endswith(".")


def test_errors_have_attributes_and_a_plain_message() -> None:
    image = ImageError("a.jpg: it is empty", kind="not_image", source="a.jpg")
    assert (str(image), image.kind, image.source) == ("a.jpg: it is empty", "not_image", "a.jpg")
    text = TokenLimitError("too long", text="cat cat", tokens=80)
    assert (str(text), text.text, text.tokens) == ("too long", "cat cat", 80)


@pytest.mark.parametrize(
    "error",
    [
        errors.LabelError("bad"),
        errors.UnsafeWeightsError("bad", source="m.pt"),
        ImageError("bad", kind="not_image", source="a.jpg"),
        errors.ImageNotFound("bad", kind="not_found", source="a"),
        TokenLimitError("too long", text="cat", tokens=80),
        errors.ChecksumError("bad", expected="a", found="b"),
        errors.NonFiniteError("bad", rows=[1, 2]),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_cross_process_boundaries(error: ZeroshotError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_the_base_is_public() -> None:
    assert zeroshot.ZeroshotError is errors.ZeroshotError
