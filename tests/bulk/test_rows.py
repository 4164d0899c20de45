"""Rows of the table."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.rows import SOURCE_BITS, Row, number_row

SOURCES, PLACES = st.integers(0, 1 << 20), st.integers(0, (1 << SOURCE_BITS) - 1)


@given(SOURCES, PLACES, SOURCES, PLACES)
def test_rows_are_numbered_by_source_then_by_place(a: int, b: int, c: int, d: int) -> None:
    assert (number_row(a, b) < number_row(c, d)) == ((a, b) < (c, d))
    assert number_row(a, b) < 1 << 63


def test_a_row_has_the_columns_in_order() -> None:
    assert [field.name for field in fields(Row)] == [
        *("row", "source", "label", "probability", "labels", "probabilities", "width", "height"),
        *("bytes", "hash", "duplicate_of", "error_kind", "error", "scores", "embedding", "kept"),
    ]
