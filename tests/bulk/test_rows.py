"""Rows of the table."""

from __future__ import annotations

import os
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.rows import SOURCE_BITS, Columns, Row, number_row, printable, restore_row

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


def test_a_row_is_restored_from_plain_values() -> None:
    facts = {"row": 3, "source": "a", "labels": ["x"], "error_kind": "io", "embedding": [0.0]}

    row = restore_row(facts | {"id": 7}, Columns(("x",), 1, None, kept=("id",)))

    assert (row.row, row.labels, row.embedding, row.kept) == (3, ("x",), None, (7,))


@given(name=st.text() | st.binary().map(os.fsdecode))
def test_names_can_be_encoded_and_others_are_not_changed(name: str) -> None:
    encoded = printable(name).encode()

    assert encoded.decode() == name or any("\ud800" <= letter <= "\udfff" for letter in name)
