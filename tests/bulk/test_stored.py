"""Stored embeddings become float32 rows of unit length; damaged parts are named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

import zeroshot
from tests.bulk import tables
from zeroshot.bulk.output import Output
from zeroshot.bulk.stored import (
    check_gaps,
    embeddings_of,
    load_model,
    open_embedded,
    read_part,
    write_part,
)
from zeroshot.errors import HeadMismatch, InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables.write_table(tmp_path / "labels")
    return tmp_path / "labels"


def test_rows_have_unit_length_and_those_of_errors_are_zeros(folder: Path) -> None:
    part = Output.open(folder).parts()[0]

    rows = embeddings_of(read_part(part.path), tables.DIM, part.path)

    lengths = rows.norm(dim=1)
    assert rows.dtype == torch.float32
    assert lengths[4] == lengths[9] == 0
    fine = [n for n in range(10) if (n + 1) % 5]
    assert lengths[fine].tolist() == pytest.approx([1] * 8, abs=1e-6)


def test_a_table_of_several_chunks_and_one_without_rows_are_read(tmp_path: Path) -> None:
    schema = tables.make_schema()
    parts = [tables.make_part(tables.unit_rows(n), 0, 0, 99, schema) for n in (3, 0, 2)]
    table = pa.concat_tables(parts)

    assert embeddings_of(table, tables.DIM, tmp_path).shape == (5, tables.DIM)
    assert embeddings_of(table.slice(4), tables.DIM, tmp_path).shape == (1, tables.DIM)
    assert embeddings_of(parts[1], tables.DIM, tmp_path).shape == (0, tables.DIM)


def test_a_folder_name_with_an_equals_sign_adds_no_column(tmp_path: Path) -> None:
    tables.write_table(tmp_path / "day=1")
    part = Output.open(tmp_path / "day=1").parts()[0]

    assert "day" not in read_part(part.path).column_names


def test_a_missing_column_is_named(folder: Path) -> None:
    part = Output.open(folder).parts()[0]

    with pytest.raises(InputError, match="expected a column 'mood'") as caught:
        read_part(part.path, ["row", "mood"])
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"", b"PAR1", b"row,source\n"])
def test_a_damaged_part_is_an_input_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "part-00000-000000.parquet").write_bytes(content)

    with pytest.raises(InputError, match="cannot read this part"):
        read_part(tmp_path / "part-00000-000000.parquet")


def test_embeddings_are_not_encoded_as_dictionary_nor_split(folder: Path, tmp_path: Path) -> None:
    part = Output.open(folder).parts()[0]
    write_part(read_part(part.path), tmp_path / "a.parquet")

    columns = parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).to_dict()["columns"]

    encodings = {each["path_in_schema"]: each["encodings"] for each in columns}
    assert set(encodings["embedding.list.element"]) <= {"PLAIN", "RLE"}
    assert any("DICTIONARY" in name for name in encodings["label"])
    assert {each["compression"] for each in columns} == {"ZSTD"}
    # with statistics of dictionaries, pyarrow up to 25 loses rows when it filters by null
    assert [each["path_in_schema"] for each in columns if each["statistics"]] == ["row"]


def test_jsonl_parts_are_refused(folder: Path) -> None:
    run = json.loads((folder / "_run.json").read_text())
    (folder / "_run.json").write_text(json.dumps({**run, "format": "jsonl"}))

    with pytest.raises(InputError, match="expected Parquet parts, got jsonl"):
        open_embedded(folder)


def test_several_gaps_are_counted(folder: Path) -> None:
    for part in Output.open(folder).parts()[1:4]:
        part.path.unlink()
    output = Output.open(folder)

    with pytest.raises(InputError, match=r"lacks 3 parts, such as part-00000-000001\.parquet"):
        check_gaps(output, allowed=False)
    check_gaps(output, allowed=True)


def test_the_model_of_a_table_is_checked(tiny: zeroshot.Model, tiny_path: Path) -> None:
    run = {"model": str(tiny_path), "identity": tiny.identity, "dtype": "float32"}

    assert load_model(run, tiny) is tiny
    assert load_model(run, None).dtype == torch.float32
    with pytest.raises(HeadMismatch, match="expected the model of the table"):
        load_model({**run, "identity": "0" * 32}, tiny)
