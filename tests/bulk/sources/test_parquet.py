"""Images in Parquet files and saved data sets: columns, names, row groups and damage."""

from __future__ import annotations

import io
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as pq

from tests.bulk.sources.files import contents, pictures, write_folder, write_parquet
from zeroshot.bulk.sources import parquet
from zeroshot.bulk.sources.parquet import TableSource, find_column
from zeroshot.bulk.sources.reading import Options
from zeroshot.errors import InputError, MissingPackage

FILES = pictures(7)
BYTES = list(FILES.values())
STRUCTS = [{"bytes": content, "path": name} for name, content in FILES.items()]


def source(path: Path, column: str | None = None, keep: tuple[str, ...] = ()) -> TableSource:
    [found] = parquet.open_source(str(path), Options(column, keep))
    return found


def test_structs_of_datasets_have_their_path_as_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"label": range(7), "image": STRUCTS})

    assert contents(source(path).items()) == list(FILES.items())
    assert source(path).count() == 7


def test_binary_columns_have_file_and_row_as_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"data": BYTES, "label": range(7)})

    assert contents(source(path).items()) == [(f"{path}#{n}", c) for n, c in enumerate(BYTES)]


@pytest.mark.parametrize("absolute", [False, True])
def test_paths_are_relative_to_the_folder_of_the_file(absolute: bool, tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    names = [str(tmp_path / name) if absolute else name for name in FILES]
    path = write_parquet(tmp_path / "a.parquet", {"url": names, "text": ["x"] * 7})

    expected = [(str(tmp_path / name), content) for name, content in FILES.items()]
    assert contents(source(path).items()) == expected
    structs = [{"bytes": None, "path": name} for name in names]
    path = write_parquet(tmp_path / "b.parquet", {"image": [*structs, STRUCTS[0]]})
    assert contents(source(path).items()) == [*expected, next(iter(FILES.items()))]


@given(group=st.integers(1, 8), first=st.integers(0, 9), rows=st.integers(1, 5))
def test_items_from_a_row_are_the_rest_of_all_items(
    group: int, first: int, rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    path = write_parquet(
        folder / "a.parquet", {"image": BYTES, "n": range(7)}, row_group_size=group
    )
    found = source(path, keep=("n",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROWS", rows)
        rest = list(found.items(first))

        assert [each.kept for each in rest] == [(n,) for n in range(first, 7)]
        assert contents(rest) == contents(islice(found.items(0), first, None))


def test_rows_without_an_image_are_error_rows(tmp_path: Path) -> None:
    images = [None, {"bytes": None, "path": None}, {"bytes": b"1", "path": None}]
    path = write_parquet(tmp_path / "a.parquet", {"image": images})

    assert contents(source(path).items()) == [
        (f"{path}#0", "ImageError bad_type"),
        (f"{path}#1", "ImageError bad_type"),
        (f"{path}#2", b"1"),
    ]


def test_kept_columns_are_plain_values(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"image": BYTES[:2], "id": [3, None], "tags": [["a"], []]}
    path = write_parquet(tmp_path / "a.parquet", columns)

    kept = [item.kept for item in source(path, keep=("tags", "id")).items()]
    assert kept == [(["a"], 3), ([], None)]


def test_image_column_may_be_kept_too(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"image": ["a.jpg"]})

    assert [item.kept for item in source(path, keep=("image",)).items()] == [("a.jpg",)]


STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"a": pa.string(), "b": STRUCT, "c": pa.binary()}, "b"),
        ({"a": pa.int64(), "c": pa.large_binary()}, "c"),
        ({"hash": pa.binary(), "image": pa.binary()}, "image"),
        ({"left": STRUCT, "image": STRUCT}, "image"),
        ({"caption": pa.string(), "URL": pa.string()}, "URL"),
        ({"x": pa.string(), "path": pa.dictionary(pa.int32(), pa.string())}, "path"),
    ],
)
def test_column_is_found_by_type_then_by_name(fields: dict[str, Any], expected: str) -> None:
    assert find_column(pa.schema(fields), None) == expected


@pytest.mark.parametrize(
    ("fields", "named", "message"),
    [
        ({"left": STRUCT, "right": STRUCT}, None, r"got 2: left, right, of the columns left \(str"),
        ({"label": pa.int64()}, None, r"got none, of the columns label \(int64\); name it with"),
        ({"label": pa.int64()}, "label", r"in the column 'label', got int64; name one of"),
        ({"label": pa.int64()}, "image", r"the column 'image', got label \(int64\); name one"),
    ],
)
def test_unclear_column_is_an_error_that_lists_candidates(
    fields: dict[str, Any], named: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        find_column(pa.schema(fields), named)


def test_column_that_datasets_marked_is_preferred(tmp_path: Path) -> None:
    import datasets

    table = {"left": STRUCTS, "thumbnail": BYTES, "raw": [b"1"] * 7}
    features = {"left": datasets.Image(), "thumbnail": datasets.Value("binary")}
    data = datasets.Dataset.from_dict(
        table, features=datasets.Features(features | {"raw": datasets.Value("binary")})
    )
    data.to_parquet(tmp_path / "a.parquet")

    assert [content for _, content in contents(source(tmp_path / "a.parquet").items())] == BYTES


@pytest.mark.parametrize("splits", [False, True], ids=["data set", "with splits"])
def test_saved_data_set_is_a_source_per_file(splits: bool, tmp_path: Path) -> None:
    import datasets

    data = datasets.Dataset.from_dict(
        {"image": STRUCTS}, features=datasets.Features({"image": datasets.Image()})
    )
    if splits:
        datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "set")
    else:
        data.save_to_disk(tmp_path / "set", num_shards=2)

    assert parquet.is_saved(str(tmp_path / "set"))
    found = parquet.open_saved(str(tmp_path / "set"), Options())
    every = [pair for each in found for pair in contents(each.items())]
    assert len(found) == 2
    expected = [(Path(name).name, content) for name, content in FILES.items()]
    assert every == expected * (2 if splits else 1)
    assert contents(found[0].items(2)) == contents(found[0].items())[2:]


@pytest.mark.parametrize(
    "state", ["", "[]", '{"_data_files": [{"filename": "../../a.arrow"}]}', '{"_data_files": 1}']
)
def test_saved_data_set_with_a_wrong_state_is_refused(state: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(state)

    with pytest.raises(InputError, match="not a saved data set"):
        parquet.open_saved(str(tmp_path), Options())


@pytest.mark.parametrize("content", [b"", b"no table", b"PAR1" + b"x" * 30 + b"PAR1"], ids=repr)
def test_file_that_is_no_table_is_an_error_at_the_start(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"a\.parquet: cannot be read"):
        source(path)


def test_damaged_row_group_gives_an_error_per_row_and_no_row_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    images = [bytes([n]) * 3000 for n in range(30)]
    write_parquet(path, {"image": images}, row_group_size=10, compression="zstd")
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    place = column.data_page_offset
    content[place : place + column.total_compressed_size // 2] = b"\xff" * (
        column.total_compressed_size // 2
    )
    path.write_bytes(content)
    found = contents(source(path).items())

    assert [name for name, _ in found] == [f"{path}#{n}" for n in range(30)]
    assert [content for _, content in found[:10] + found[20:]] == images[:10] + images[20:]
    assert {content for _, content in found[10:20]} == {"ImageError truncated"}
    assert contents(source(path).items(15)) == found[15:]


def test_large_images_are_read_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BATCH_BYTES", 3000)
    path = write_parquet(
        tmp_path / "a.parquet",
        {"image": [bytes(1000) for _ in range(9)]},
        compression=None,
        use_dictionary=False,
    )
    with path.open("rb") as file:
        sizes = [batch.rows for batch in parquet.ParquetRows(file).batches(["image"], 0)]

    assert max(sizes) <= 3
    assert sum(sizes) == 9


def test_only_wanted_columns_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    original = pq.ParquetFile.iter_batches

    def record(self: Any, *args: Any, **options: Any) -> Any:
        asked.append(options["columns"])
        return original(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", record)
    path = write_parquet(tmp_path / "a.parquet", {"image": BYTES, "id": range(7), "x": BYTES})
    list(source(path, "image", keep=("id",)).items())

    assert asked == [["image", "id"]]


def test_missing_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"image": BYTES})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[parquet\]'"):
        source(path)


def test_arrow_file_of_the_other_kind_is_read() -> None:
    table = pa.table({"image": BYTES})
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    buffer.seek(0)
    buffer.name = "memory"

    rows = parquet.ArrowRows(buffer)
    assert rows.rows == 7
    assert [value for b in rows.batches(["image"], 0) for value in (b.values or [[]])[0]] == BYTES
