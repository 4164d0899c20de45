"""Parts as Parquet files."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.bulk.sinks.samples import METADATA, PLAIN, WIDE, make_rows
from zeroshot.bulk.rows import FORMAT, Columns, Row
from zeroshot.bulk.sinks import parquet
from zeroshot.errors import InputError, MissingPackage

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part-00000-000000.parquet"
    parquet.write(make_rows(), WIDE, METADATA, path)
    return path


def test_the_schema_is_exactly_the_documented_one(part: Path) -> None:
    word = pa.dictionary(pa.int32(), pa.string())
    found = pq.read_schema(part)

    assert {field.name: field.type for field in found} == {
        "row": pa.int64(),
        "source": pa.string(),
        "label": word,
        "probability": pa.float32(),
        "labels": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float32()),
        "width": pa.int32(),
        "height": pa.int32(),
        "bytes": pa.int64(),
        "hash": pa.binary(16),
        "duplicate_of": pa.int64(),
        "error_kind": word,
        "error": pa.string(),
        "scores": pa.list_(pa.float16(), 2),
        "embedding": pa.list_(pa.float16(), 4),
        "caption": pa.string(),
        "id": pa.int64(),
    }
    assert json.loads(found.metadata[FORMAT.encode()]) == METADATA == parquet.read_metadata(part)


def test_rows_survive_a_round_trip(part: Path) -> None:
    labeled, duplicate, error, unsure = parquet.read(part)

    assert labeled["labels"] == ["dog", "cat"]
    assert labeled["embedding"].tolist() == [0.5, -0.5, 0.5, 0.5]
    assert (labeled["caption"], labeled["id"]) == ("ünï\ncode", 7)
    assert (duplicate["duplicate_of"], duplicate["label"]) == (0, "dog")
    assert (error["label"], error["labels"], error["error_kind"]) == (None, None, "not_image")
    assert error["source"] == "bad\\udcff.jpg"
    assert unsure["label"] is None
    assert unsure["probabilities"] == [float(np.float32(p)) for p in (0.1 + 0.2, 0.123456789)]


def test_embeddings_and_scores_of_errors_are_zeros_and_never_null(part: Path) -> None:
    table = pq.read_table(part)

    for name in ("embedding", "scores"):
        assert table.column(name).null_count == 0
        assert not any(table.column(name)[2].as_py())


def test_only_label_columns_are_stored_as_dictionaries(part: Path) -> None:
    group = pq.ParquetFile(part).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    encoded = {c.path_in_schema for c in columns if c.has_dictionary_page}

    assert encoded <= {"label", "labels.list.element", "error_kind"}
    assert {"label", "error_kind"} <= encoded
    assert all("BYTE_STREAM_SPLIT" not in c.encodings for c in columns)
    assert {c.compression for c in columns} == {"ZSTD"}


def test_equal_rows_give_equal_bytes(part: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.parquet"
    parquet.write(make_rows(), WIDE, METADATA, again)

    assert again.read_bytes() == part.read_bytes()


def test_parts_without_rows_or_with_errors_only_have_the_same_schema(
    part: Path, tmp_path: Path
) -> None:
    for name, rows in {"empty": [], "errors": make_rows()[2:3]}.items():
        path = tmp_path / f"{name}.parquet"
        parquet.write(rows, WIDE, METADATA, path)

        assert pq.read_schema(path).equals(pq.read_schema(part), check_metadata=True)
    assert pq.read_table(tmp_path).num_rows == 5


def test_optional_columns_are_absent_by_default(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    parquet.write([Row(0, "a")], PLAIN, {}, path)

    assert not {"scores", "embedding", "kept"} & {*pq.read_schema(path).names}


def test_pandas_polars_duckdb_and_datasets_read_a_part(part: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    labels = ["dog", "dog", None, None]

    frame = pandas.read_parquet(part)
    assert [None if pandas.isna(x) else x for x in frame["label"]] == labels
    assert frame["embedding"][0].dtype == np.float16
    assert polars.read_parquet(part)["label"].to_list() == labels
    query = f"select label, embedding[1] from '{part}' order by row"
    assert duckdb.sql(query).fetchall()[0] == ("dog", 0.5)
    datasets = pytest.importorskip("datasets")
    found = datasets.Dataset.from_parquet(str(part), cache_dir=str(tmp_path / "cache"))
    assert found[0]["labels"] == ["dog", "cat"]


def test_kept_values_of_another_type_are_an_input_error(tmp_path: Path) -> None:
    columns = Columns(("a",), 1, None, kept=("id",), kept_types=("int64",))

    with pytest.raises(InputError, match="kept column 'id' as int64"):
        parquet.write([Row(0, "a", kept=("x",))], columns, {}, tmp_path / "part.parquet")


def test_another_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(b"PAR1 or not")

    with pytest.raises(InputError, match="delete it and run the command again"):
        list(parquet.read(path))


def test_damage_at_any_place_is_an_input_error_or_is_not_found(part: Path) -> None:
    content = part.read_bytes()
    for place in range(0, len(content) - 60, len(content) // 40):
        flipped = bytes(255 - byte for byte in content[place : place + 60])
        part.write_bytes(content[:place] + flipped + content[place + 60 :])
        with suppress(InputError):
            list(parquet.read(part))


def test_without_pyarrow_the_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert not parquet.is_installed()
    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[parquet\]'"):
        parquet.import_pyarrow()
