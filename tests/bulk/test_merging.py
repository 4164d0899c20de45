"""Parts of a table become one file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.bulk import tables
from zeroshot.bulk import merging as module
from zeroshot.bulk.merging import merge
from zeroshot.bulk.output import Output
from zeroshot.bulk.rows import Columns, Row
from zeroshot.bulk.sinks import get_sink
from zeroshot.errors import InputError, MissingPackage, SaveError

FORMATS = ("parquet", "csv", "jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables.write_table(tmp_path / "labels")
    return tmp_path / "labels"


def write_in(form: str, source: Path, folder: Path) -> Path:
    """Write a table again in another format, and return its folder."""
    output = Output.open(source)
    folder.mkdir()
    columns = output.columns if form != "csv" else Columns(output.columns.labels, 5, None)
    for part in output.parts():
        rows = []
        for facts in output.sink.read(part.path):
            album = facts.pop("album")
            rows.append(Row(**facts, kept=(album,) if columns.kept else ()))
        get_sink(form).write(rows, columns, {}, folder / f"{part.path.stem}.{form}")
    run = {**output.run, "format": form, "kept": list(columns.kept)}
    (folder / "_run.json").write_text(json.dumps(run), "utf-8")
    (folder / "_SUCCESS.json").write_text("{}", "utf-8")
    return folder


def read(file: Path) -> list[dict[str, Any]]:
    """Read the columns that every format has."""
    names = ("row", "source", "label", "labels", "probability", "error_kind", "error", "hash")
    rows: Iterator[dict[str, Any]] = get_sink(file.suffix[1:]).read(file)
    return [{name: row[name] for name in names} for row in rows]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_format_becomes_every_format(
    source: str, target: str, folder: Path, tmp_path: Path
) -> None:
    given = folder if source == "parquet" else write_in(source, folder, tmp_path / "given")

    rows = merge(given, tmp_path / f"all.{target}")

    assert rows == 48
    expected = [row for part in sorted(folder.glob("part-*")) for row in read(part)]
    assert read(tmp_path / f"all.{target}") == expected


def test_parquet_keeps_all_columns_and_describes_the_run(folder: Path, tmp_path: Path) -> None:
    merge(folder, tmp_path / "all.parquet")

    parts = [parquet.read_table(file) for file in sorted(folder.glob("part-*"))]
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.to_pylist() == pa.concat_tables(parts).to_pylist()
    assert table.schema.equals(parts[0].schema)
    facts = json.loads(table.schema.metadata[b"zeroshot.labels/1"])
    assert facts["identity"] == "fake"
    assert "chunk" not in facts


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_embeddings_can_be_left_out(form: str, folder: Path, tmp_path: Path) -> None:
    merge(folder, tmp_path / f"all.{form}", embeddings=False)

    row = next(iter(get_sink(form).read(tmp_path / f"all.{form}")))
    assert "embedding" not in row
    assert "album" in row


def test_line_breaks_in_names_are_no_rows(folder: Path, tmp_path: Path) -> None:
    given = write_in("csv", folder, tmp_path / "given")
    row = Row(1 << 40 | 24, 'a "b"\nc,d.jpg', "cat", 0.5, ("cat",), (0.5,))
    columns = Output.open(given).columns
    get_sink("csv").write([row], columns, {}, given / "part-00001-000002.csv")

    assert merge(given, tmp_path / "all.csv") == 45

    with (tmp_path / "all.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert (len(lines), lines[-1]["source"]) == (45, 'a "b"\nc,d.jpg')


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_an_earlier_call_is_replaced(form: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / f"all.{form}"
    merge(folder, file)
    before = file.read_bytes()

    assert merge(folder, file) == 48
    assert file.read_bytes() == before
    assert not list(tmp_path.glob(".all*"))


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_others_is_refused(form: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / f"all.{form}"
    content = b"source,label\na,b\n" if form == "csv" else b'{"source": 1}\n'
    if form == "parquet":
        parquet.write_table(pa.table({"source": ["a"]}), file)
        content = file.read_bytes()
    file.write_bytes(content)

    with pytest.raises(InputError, match="not a table that zeroshot wrote"):
        merge(folder, file)
    assert file.read_bytes() == content


def test_missing_parts_are_refused_unless_allowed(folder: Path, tmp_path: Path) -> None:
    (folder / "part-00000-000001.parquet").unlink()

    with pytest.raises(InputError, match=r"lacks 1 part, such as part-00000-000001\.parquet"):
        merge(folder, tmp_path / "all.csv")
    assert not (tmp_path / "all.csv").exists()
    assert merge(folder, tmp_path / "all.csv", allow_gaps=True) == 38


def test_a_file_inside_the_folder_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="read its rows twice"):
        merge(folder, folder / "all.parquet")


@pytest.mark.parametrize("name", ["all", "all.txt", "all.csv.gz"])
def test_another_suffix_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end with \.parquet, \.csv or \.jsonl"):
        merge(folder, tmp_path / name)


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_without_rows_has_its_columns(form: str, tmp_path: Path) -> None:
    tables.write_table(tmp_path / "labels", parts=(0,), sources=1)
    file = tmp_path / f"all.{form}"

    assert merge(tmp_path / "labels", file) == 0
    assert merge(tmp_path / "labels", file) == 0  # it recognizes its own empty file

    assert list(get_sink(form).read(file)) == []


def test_a_part_with_other_columns_is_named(folder: Path, tmp_path: Path) -> None:
    tables.write_table(tmp_path / "other", dim=None)
    part = folder / "part-00001-000000.parquet"
    part.write_bytes((tmp_path / "other" / part.name).read_bytes())

    with pytest.raises(InputError, match=r"part-00001-000000\.parquet: the columns differ"):
        merge(folder, tmp_path / "all.parquet")
    assert [path.name for path in tmp_path.iterdir() if "all" in path.name] == []


def test_a_full_disk_leaves_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", fail)

    with pytest.raises(SaveError, match="No space left"):
        merge(folder, tmp_path / "all.csv")
    assert [path.name for path in tmp_path.iterdir() if "all" in path.name] == []


def test_csv_of_jsonl_needs_no_pyarrow(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = write_in("jsonl", folder, tmp_path / "given")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    assert merge(given, tmp_path / "all.csv") == 48
    with pytest.raises(MissingPackage, match="pip install"):
        merge(given, tmp_path / "all.parquet")
