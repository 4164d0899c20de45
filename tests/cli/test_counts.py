"""Numbers in messages have a noun in the singular or plural."""

from __future__ import annotations

import pytest

from zeroshot.cli.counts import counted


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(0, "file", "0 files"), (1, "file", "1 file"), (2, "image", "2 images")],
)
def test_a_noun_is_singular_for_one_only(number: int, noun: str, expected: str) -> None:
    assert counted(number, noun) == expected
