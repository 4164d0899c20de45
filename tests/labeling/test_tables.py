"""Tables of paths and labels are read by the names of their columns."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import image_files
from zeroshot.errors import InputError, MissingPackage
from zeroshot.images import Sample
from zeroshot.labeling import tables

ROWS = [["a.jpg", "cat"], ["sub/b.jpg", "Käfer, rot"]]


def written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_text(content, encoding)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'path,label\na.jpg,cat\nsub/b.jpg,"Käfer, rot"\n'),
        ("t.CSV", 'id,Label,File_Name\n1,cat,a.jpg\n\n2,"Käfer, rot",sub/b.jpg\n'),
        ("t.csv", "image;class\na.jpg;cat\nsub/b.jpg;Käfer, rot\n"),
        ("t.csv", 'sep=;\r\n"path";"label"\r\na.jpg;cat\r\nsub/b.jpg;Käfer, rot\r\n'),
        ("t.tsv", "filename\ttarget\na.jpg\tcat\nsub/b.jpg\tKäfer, rot\n"),
        ("t.jsonl", "\n".join(json.dumps({"file_name": p, "label": x}) for p, x in ROWS)),
        ("t.json", json.dumps([{"path": p, "category": x, "id": 1} for p, x in ROWS])),
    ],
)
def test_columns_are_found_by_their_names(name: str, content: str, tmp_path: Path) -> None:
    found = tables.read(written(tmp_path / name, content))

    assert found.images == [str(tmp_path / "a.jpg"), str(tmp_path / "sub" / "b.jpg")]
    assert found.truth == ["cat", "Käfer, rot"]


def test_utf16_and_marks_are_decoded(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig"):
        found = tables.read(written(tmp_path / "t.csv", "path,label\na.jpg,Käfer\n", encoding))
        assert found.truth == ["Käfer"]


def test_absolute_paths_and_urls_are_kept(tmp_path: Path) -> None:
    content = "url,label\nhttps://example.org/a.jpg,cat\n/data/b.jpg,cat\n"

    found = tables.read(written(tmp_path / "t.csv", content))

    assert found.images == ["https://example.org/a.jpg", "/data/b.jpg"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "path,labels\na,cat; dog\nb,\nc,bee\n"),
        ("t.csv", "path,tags\na,cat|dog\nb,\nc,bee\n"),
        ("t.csv", 'path,labels\na,"[""cat"", ""dog""]"\nb,[]\nc,bee\n'),
        (
            "t.jsonl",
            '{"path":"a","labels":["cat","dog"]}\n{"path":"b"}\n{"path":"c","labels":"bee"}',
        ),
        (
            "t.jsonl",
            '{"path":"a","label":["cat","dog"]}\n{"path":"b","label":[]}\n'
            '{"path":"c","label":"bee"}',
        ),
    ],
)
def test_several_labels_are_lists(name: str, content: str, tmp_path: Path) -> None:
    assert tables.read(written(tmp_path / name, content)).truth == [["cat", "dog"], [], ["bee"]]


def test_numbers_of_json_are_column_numbers(tmp_path: Path) -> None:
    found = tables.read(written(tmp_path / "t.jsonl", '{"path": "a", "label": 3}'))

    assert found.truth == [3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "path,label,class\na,b,c\n", "one column with labels, got 2: label, class of"),
        ("t.csv", "path,file,label\na,b,c\n", "one column with paths, got 2: path, file of"),
        ("t.csv", "a.jpg,cat\nb.jpg,dog\n", "one column with paths, got none of the columns a.jpg"),
        ("t.csv", "path,label\n", "expected a row per image, got none"),
        ("t.csv", "", "expected a row per image, got none"),
        ("t.csv", "path,label\na.jpg\n", "row 2 has 1 columns, the first has 2"),
        ("t.csv", 'path,label\na.jpg,"cat\n', "malformed csv"),
        ("t.csv", "path,label\na.jpg,\n", "row 1: expected a label in the column 'label', got ''"),
        ("t.csv", "path,label\n,cat\n", "row 1: expected a path, got ''"),
        ("t.jsonl", '{"path": "a", "label": true}', "row 1: expected a label .* got True"),
        ("t.jsonl", '{"path": "a"}', "one column with labels, got none of the columns path"),
        ("t.jsonl", '{"path": 1, "label": "cat"}', "row 1: expected a path, got 1"),
        ("t.jsonl", '{"path": "a", "labels": 1}', "row 1: expected a list of labels, got 1"),
        ("t.jsonl", "{", "malformed jsonl"),
        ("t.jsonl", '["a", "cat"]', "a JSON object for each image"),
        ("t.json", '{"a": "cat"}', "a JSON object for each image"),
        ("t.txt", "a.jpg cat\n", "expected a folder, or a file that ends in .csv"),
        ("t.parquet", "no parquet", "malformed Parquet|requires pyarrow"),
    ],
)
def test_tables_without_one_path_and_label_are_rejected(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises((InputError, MissingPackage), match=message) as caught:
        tables.read(written(tmp_path / name, content))
    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_bytes_that_are_no_text_and_missing_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"path,label\n\xff\xfe,\x00\n")
    with pytest.raises(InputError, match="not UTF-8"):
        tables.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        tables.read(tmp_path / "none.csv")


def test_long_cells_are_shortened_in_errors(tmp_path: Path) -> None:
    content = f"{'p' * 5000},{'q' * 5000}\na,b\n"

    with pytest.raises(InputError) as caught:
        tables.read(written(tmp_path / "t.csv", content))
    assert len(str(caught.value)) < 600


def test_equal_names_get_a_number() -> None:
    assert tables.distinct(["crane", "crane", "crane (2)"]) == {
        "crane": ["crane"],
        "crane (2)": ["crane"],
        "crane (2) (2)": ["crane (2)"],
    }


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[parquet\]'"):
        tables.read(tmp_path / "t.parquet")


def write_parquet(path: Path, columns: dict[str, Any], names: list[str] | None = None) -> Path:
    """Write a Parquet file, with the labels where the `datasets` library stores them."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(columns)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    parquet.write_table(table, path, row_group_size=2)
    return path


def test_parquet_of_paths(tmp_path: Path) -> None:
    columns = {"file_name": ["a.jpg", "b.jpg"], "label": ["cat", "dog"]}

    found = tables.read(write_parquet(tmp_path / "t.parquet", columns))

    assert found.images == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert found.truth == ["cat", "dog"]
    assert found.labels is None


def test_parquet_of_encoded_images_with_the_names_of_numbers(tmp_path: Path) -> None:
    content = image_files()["PNG"]
    images = [{"bytes": content, "path": f"{n}.png"} for n in range(5)]
    images[3] = {"bytes": None, "path": "d.png"}  # type: ignore[dict-item]
    columns = {"image": images, "label": [0, 1, 1, 0, 1]}

    found = tables.read(write_parquet(tmp_path / "t.parquet", columns, ["cat", "Käfer"]))

    assert found.truth == [0, 1, 1, 0, 1]
    assert list(found.labels or {}) == ["cat", "Käfer"]
    samples = list(found.images)
    assert len(samples) == len(found.images) == 5
    assert isinstance(samples[4], Sample)
    assert samples[4].key.endswith("t.parquet#4 4.png")
    assert samples[4].image == content
    assert samples[3].image == str(tmp_path / "d.png")  # type: ignore[union-attr]
    assert found.images[0] == samples[0]


def test_parquet_of_lists_is_several_labels(tmp_path: Path) -> None:
    columns = {"path": ["a", "b"], "labels": [["cat", "dog"], []]}

    assert tables.read(write_parquet(tmp_path / "t.parquet", columns)).truth == [["cat", "dog"], []]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".csv", "path,caption\na.jpg,a cat\n"),
        (".tsv", "path\tcaption\na.jpg\ta cat\n"),
        (".json", '[{"path": "a.jpg", "caption": "a cat"}]'),
        (".jsonl", '{"path": "a.jpg"}\n\n{"caption": "a cat"}\n'),
    ],
)
def test_parse_returns_the_columns_and_the_rows(suffix: str, text: str) -> None:
    header, rows = tables.parse(text, suffix)

    assert header == ["path", "caption"]
    assert {key: value for row in rows for key, value in row.items()} == {
        "path": "a.jpg",
        "caption": "a cat",
    }


def test_parse_of_no_rows_is_empty() -> None:
    assert tables.parse("", ".csv") == ([], [])
    with pytest.raises(InputError, match="expected a JSON object for each image"):
        tables.parse("[1]", ".json")


def test_choose_finds_the_only_column_that_has_a_name() -> None:
    names = ("caption", "text")

    assert tables.choose(["id", " Text "], names, "captions", "caption") == " Text "
    with pytest.raises(InputError, match=r"one column with captions, got none of the columns id;"):
        tables.choose(["id"], names, "captions", "caption")
    with pytest.raises(InputError, match=r"got 2: text, caption of .*name one 'caption' and no"):
        tables.choose(["text", "caption"], names, "captions", "caption")


def test_locate_keeps_urls_and_absolute_paths(tmp_path: Path) -> None:
    assert tables.locate("a/b.jpg", tmp_path, 1) == str(tmp_path / "a" / "b.jpg")
    for place in ("https://example.org/a.jpg", str(tmp_path / "c.jpg")):
        assert tables.locate(place, Path("folder"), 1) == place
    for value in (None, "", 3):
        with pytest.raises(InputError, match="row 7: expected a path, got"):
            tables.locate(value, tmp_path, 7)
