"""Batches of a data engine: which columns are images, how they are named, what is kept."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.rows import Columns, Row
from zeroshot.bulk.sinks.parquet import make_schema
from zeroshot.errors import InputError, MissingPackage
from zeroshot.integrations.batches import check_columns, read_batch, to_table, write_batch

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def objects(*values: Any) -> Any:
    found = np.empty(len(values), object)
    found[:] = values
    return found


@pytest.mark.parametrize(
    "batch",
    [
        pa.table({"bytes": [b"a", None], "path": ["a.jpg", "b.jpg"]}),
        pa.record_batch({"bytes": [b"a", None], "path": ["a.jpg", "b.jpg"]}),
        {"bytes": objects(b"a", None), "path": np.array(["a.jpg", "b.jpg"])},
        {"bytes": [b"a", None], "path": ["a.jpg", "b.jpg"]},
    ],
    ids=["table", "record batch", "numpy", "lists"],
)
def test_forms_of_a_batch(batch: Any) -> None:
    found = read_batch(batch, ["bytes"], None)

    assert found.images == [b"a", None]
    assert found.names == ["a.jpg", "b.jpg"]
    assert found.kept.column_names == ["path"]


def test_struct_of_hugging_face_gives_bytes_or_else_the_path() -> None:
    values = [{"bytes": b"a", "path": "a.jpg"}, {"bytes": None, "path": "/b.jpg"}, None]
    table = pa.table({"image": pa.array(values, STRUCT), "id": [1, 2, 3]})

    found = read_batch(table, ["image"], None)

    assert found.images == [b"a", "/b.jpg", None]
    assert found.names[:2] == ["a.jpg", "/b.jpg"]
    assert found.kept.column_names == ["id"]


def test_first_column_that_is_not_null_is_the_image() -> None:
    table = pa.table({"__key__": ["1", "2"], "jpg": [b"j", None], "png": [None, b"p"]})

    found = read_batch(table, ["jpg", "png", "webp"], None)

    assert found.images == [b"j", b"p"]
    assert found.names == ["1.jpg", "2.png"]


@pytest.mark.parametrize(
    ("columns", "name", "expected"),
    [
        ({}, None, "blake2b:cae66941d9efbd404e4d88758ea67670"),
        ({"id": [7]}, "id", "7"),
        ({"url": ["http://a/b.jpg"], "id": [7]}, None, "http://a/b.jpg"),
        ({"__key__": ["k"], "__url__": ["a.tar"]}, None, "a.tar#k.bytes"),
        ({"path": [5]}, None, "blake2b:cae66941d9efbd404e4d88758ea67670"),
    ],
)
def test_name_of_an_image(columns: dict[str, Any], name: str | None, expected: str) -> None:
    batch = pa.table(columns | {"bytes": [b""]})

    assert read_batch(batch, ["bytes"], name).names == [expected]


def test_missing_column_is_listed_with_the_others() -> None:
    table = pa.table({"image": [b"a"]})

    with pytest.raises(InputError, match="no column 'bytes' among 'image'; pass column="):
        read_batch(table, ["bytes"], None)
    with pytest.raises(InputError, match="no column 'name' among 'image'; pass name="):
        read_batch(table, ["image"], "name")


@pytest.mark.parametrize(
    "batch",
    [
        {"image": np.zeros((2, 4, 4, 3), np.uint8)},
        {"image": objects(np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8))},
        pa.table({"image": [[1, 2, 3]]}),
    ],
    ids=["equal shapes", "shapes", "lists"],
)
def test_decoded_pixels_are_an_error_that_names_the_reader(batch: Any) -> None:
    with pytest.raises(InputError, match=r"decoded pixels.*read_binary_files") as caught:
        read_batch(batch, ["image"], None)
    assert len(str(caught.value)) < 600


def test_tensors_in_arrow_are_decoded_pixels() -> None:
    kind = pa.fixed_shape_tensor(pa.uint8(), [4, 4, 3])

    with pytest.raises(InputError, match="decoded pixels"):
        check_columns(pa.schema({"image": kind}), ["image"])


def test_numbers_are_no_images() -> None:
    with pytest.raises(InputError, match="of type int64, expected the bytes"):
        check_columns(pa.schema({"id": pa.int64()}), ["id"])


def test_numpy_bytes_without_their_zeros_are_an_error() -> None:
    with pytest.raises(InputError, match="drops zeros at the end of a file"):
        to_table({"bytes": np.array([b"a\0"])})


@pytest.mark.parametrize("batch", [[b"a"], b"a", None])
def test_other_values_are_no_batch(batch: Any) -> None:
    with pytest.raises(InputError, match="expected an Arrow table or a mapping"):
        to_table(batch)


def test_column_of_several_types_is_an_error() -> None:
    with pytest.raises(InputError, match="cannot convert column 'id' to Arrow"):
        to_table({"id": objects(1, "a")})


def test_missing_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[parquet\]'"):
        to_table({})


def test_output_has_the_schema_of_a_part_even_if_all_rows_are_errors() -> None:
    columns = Columns(("cat", "dog"), 2, 4, has_scores=True)
    errors = [Row(0, "a", error_kind="io", error="broken")]
    batch = read_batch(pa.table({"bytes": [b"a"]}), ["bytes"], None)

    table = write_batch(errors, columns, batch)

    expected = make_schema(columns, {})
    assert table.schema.names == expected.names
    assert table.schema.types == expected.types
    assert table["embedding"].to_pylist() == [[0, 0, 0, 0]]
    assert table["row"].null_count == 1  # a batch has no place in the whole data set


def test_row_of_the_batch_is_kept_and_taken_names_get_a_prefix() -> None:
    batch = pa.table({"bytes": [b"a"], "row": [7], "label": ["x"], "in_label": ["y"], "id": [1]})

    table = write_batch(
        [Row(0, "a", label="cat")], Columns(("cat",), 1, None), read_batch(batch, ["bytes"], None)
    )

    row = table.to_pylist()[0]
    assert (row["row"], row["label"], row["id"]) == (7, "cat", 1)
    assert (row["in_label"], row["in_in_label"]) == ("x", "y")


@given(st.lists(st.one_of(st.none(), st.binary(max_size=4)), max_size=8))
def test_no_row_is_lost_or_moved(images: list[bytes | None]) -> None:
    table = pa.table({"bytes": pa.array(images, pa.binary()), "id": range(len(images))})
    batch = read_batch(table, ["bytes"], "id")
    rows = [Row(place, name) for place, name in enumerate(batch.names)]

    written = write_batch(rows, Columns(("cat",), 1, None), batch)

    assert batch.images == images
    assert written["source"].to_pylist() == [str(i) for i in range(len(images))]
    assert written["id"].to_pylist() == list(range(len(images)))
