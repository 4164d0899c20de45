"""Lists and tables of paths; a listing is frozen to a file and comes back equal."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bulk.sources.files import contents, pictures, write_folder
from zeroshot.bulk.sources.listing import Listing, read_paths, read_table
from zeroshot.bulk.sources.reading import Options
from zeroshot.errors import InputError

FILES = pictures(4)
NAMES = st.text(min_size=1) | st.binary(min_size=1).map(os.fsdecode)
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@given(rows=st.lists(st.tuples(NAMES, VALUES, VALUES), max_size=5), columns=st.booleans())
def test_frozen_listing_comes_back_equal(
    form: str,
    rows: list[tuple[Any, ...]],
    columns: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    names = [name for name, *_ in rows]
    kept = [tuple(values) for _, *values in rows]
    first = Listing.from_names(names, kept if columns else [], ("a", "b") if columns else ())
    first.skipped.update({".txt": 3})
    path = tmp_path_factory.mktemp("frozen") / f"_inputs.{form}"
    first.freeze(path, form)
    second = Listing.thaw(path)

    assert (second.names, second.kept, second.columns) == (first.names, first.kept, first.columns)
    assert second.facts() == first.facts()
    assert second.skipped == {".txt": 3}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]\n", b'{"format": "other"}'], ids=repr)
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_other_file_is_not_thawed(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"_inputs{suffix}"
    path.write_bytes(content)

    with pytest.raises(InputError, match="not a list of inputs"):
        Listing.thaw(path)


@given(first=st.integers(0, 6))
def test_items_from_a_row_are_the_rest_of_all_items(
    first: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_folder(tmp_path_factory.mktemp("list"), FILES)
    names = [*(str(folder / name) for name in FILES), str(folder / "missing.jpg")]
    found = Listing.from_names(names, [(n,) for n in range(5)], ["n"])

    rest = list(found.items(first))
    assert contents(rest) == contents(islice(found.items(0), first, None))
    assert [item.kept for item in rest] == [(n,) for n in range(first, 5)]


def test_unreadable_images_are_error_rows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    names = ["", str(tmp_path), str(tmp_path / "pipe.jpg"), "missing.jpg", "x\0y", "a" * 300]
    kinds = [content.split()[1] for _, content in contents(Listing.from_names(names).items())]

    assert kinds == ["not_found", "not_image", "not_image", *["not_found"] * 3]


def test_name_that_is_not_utf_8_is_read_and_escaped(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.jpg")
    with open(path, "wb") as file:
        file.write(b"content")
    [(name, content)] = contents(Listing.from_names([os.fsdecode(path)]).items())

    assert content == b"content"
    assert name == f"{tmp_path}/\\udcff.jpg"


def test_facts_change_with_names_order_and_kept_values() -> None:
    names = ["a.jpg", "b.jpg"]
    digests = {
        Listing.from_names(names).facts()["digest"],
        Listing.from_names(names[::-1]).facts()["digest"],
        Listing.from_names(["a.jpgb.jpg"]).facts()["digest"],
        Listing.from_names(names, [(1,), (2,)], ["n"]).facts()["digest"],
    }

    assert len(digests) == 4


def test_values_for_each_name_are_required() -> None:
    with pytest.raises(InputError, match="1 columns for each of 2 images, got 1"):
        Listing.from_names(["a", "b"], [(1,)], ["n"])


@pytest.mark.parametrize(
    "content",
    [
        b"a b.jpg\n\nb.jpg\r\n",
        b"a b.jpg\0b.jpg\0",
        "\ufeffa b.jpg\nb.jpg".encode(),
        "a b.jpg\nb.jpg\n".encode("utf-16"),
    ],
    ids=["lines", "NUL", "mark", "UTF-16"],
)
def test_list_file_has_a_path_per_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(content)

    expected = [str(tmp_path / "a b.jpg"), str(tmp_path / "b.jpg")]
    assert read_paths(str(tmp_path / "list.txt")) == expected


TABLES = {
    "a.csv": 'path,id\n"0,1.jpg",x\n\nhttps://e.com/b.jpg,\n,z\n',
    "a.tsv": "path\tid\n0,1.jpg\tx\nhttps://e.com/b.jpg\t\n\tz\n",
    "a.jsonl": '{"path": "0,1.jpg", "id": "x"}\n{"path": "https://e.com/b.jpg", "id": ""}\n'
    '{"id": "z"}\n',
    "a.json": '[{"path": "0,1.jpg", "id": "x"}, {"path": "https://e.com/b.jpg", "id": ""}, '
    '{"path": null, "id": "z"}]',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_give_paths_and_kept_columns_and_no_row_is_lost(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TABLES[name])

    names, kept = read_table(str(tmp_path / name), Options(keep=("id",)))

    assert names == [str(tmp_path / "0,1.jpg"), "https://e.com/b.jpg", ""]
    assert kept == [("x",), ("",), ("z",)]


def test_line_separators_inside_of_json_text_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"path": "a\u2028b.jpg"}\n', "utf-8")

    assert read_table(str(tmp_path / "a.jsonl"), Options())[0] == [str(tmp_path / "a\u2028b.jpg")]


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.csv", "x,y\n1,2\n", Options(), "expected one column with paths, got none of the"),
        ("a.csv", "path,url\n1,2\n", Options(), "got 2: path, url of the columns"),
        ("a.csv", "x,y\n1,2\n", Options(column="z"), "the column 'z', got x, y; name one of"),
        ("a.csv", "path\n1\n", Options(keep=("id",)), "the column 'id', got path; name one of"),
        ("a.csv", "path,id\n1\n", Options(), "line 2: expected 2 cells, got 1"),
        ("a.csv", 'path\n"1\n', Options(), "malformed csv"),
        ("a.csv", "path\n\xff", Options(), "not UTF-8"),
        ("a.csv", "", Options(), "expected one column with paths, got none"),
        ("a.jsonl", '{"path": 1}', Options(), "row 1: expected a path, got 1"),
        ("a.jsonl", "{", Options(), "malformed jsonl"),
        ("a.jsonl", "[1]", Options(), "a JSON object for each image"),
        ("missing.csv", None, Options(), "no such file"),
    ],
)
def test_malformed_tables_are_errors_that_name_the_file(
    name: str, text: str | None, options: Options, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("latin-1"))

    with pytest.raises(InputError, match=message) as caught:
        read_table(str(tmp_path / name), options)
    assert str(caught.value).count(name) == 1


def test_frozen_parquet_has_readable_names(tmp_path: Path) -> None:
    from pyarrow import parquet

    Listing.from_names(["a.jpg", "\udcff.jpg"]).freeze(tmp_path / "frozen", "parquet")
    table = parquet.read_table(tmp_path / "frozen").to_pydict()

    assert table["source"] == ["a.jpg", "\\udcff.jpg"]
    assert [json.loads(each) for each in table["json"]] == [["a.jpg"], ["\udcff.jpg"]]
