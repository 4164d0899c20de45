"""Read published files, and reject damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.paper.datasets.layout import (
    Picture,
    first_folder,
    image_files,
    read_json,
    read_table,
    read_text,
)
from zeroshot.errors import InputError


def test_first_of_several_folders_is_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    assert first_folder(tmp_path, ("named", "data", "."), "data.zip") == tmp_path / "data"
    assert first_folder(tmp_path, ("named", "."), "data.zip") == tmp_path
    with pytest.raises(InputError, match=r"a folder named or other, got none; extract data.zip"):
        first_folder(tmp_path, ("named", "other"), "data.zip")


def test_image_files_are_sorted_and_other_files_left_out(tmp_path: Path) -> None:
    for name in ("b.JPEG", "a.png", "README.txt", "c.jpg"):
        (tmp_path / name).touch()

    assert [path.name for path in image_files(tmp_path)] == ["a.png", "b.JPEG", "c.jpg"]


@pytest.mark.parametrize("read", [read_text, read_json], ids=["text", "json"])
def test_file_that_is_not_utf8_is_rejected(tmp_path: Path, read: object) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")

    assert callable(read)
    with pytest.raises(InputError, match=r"cannot read the file as UTF-8 .*extract a.zip again"):
        read(tmp_path / "a.json", "a.zip")


def test_folder_in_place_of_a_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        read_text(tmp_path, "a.zip")


def test_quotes_are_syntax_in_csv_and_text_in_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,id\n"massaging, ""a"" head",x\n')
    (tmp_path / "a.tsv").write_text('sentence\tlabel\n"unclosed\t1\n')

    rows = read_table(tmp_path / "a.csv", ("label", "id"), "a.zip")
    lines = read_table(tmp_path / "a.tsv", ("sentence",), "a.zip", tabs=True)

    assert rows == [{"label": 'massaging, "a" head', "id": "x"}]
    assert lines == [{"sentence": '"unclosed', "label": "1"}]


def test_unclosed_quote_in_csv_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,id\n"abc,x\n')

    with pytest.raises(InputError, match=r"a.csv, line .*extract a.zip again"):
        read_table(tmp_path / "a.csv", ("label",), "a.zip")


def test_empty_table_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()

    with pytest.raises(InputError, match="expected the columns label, got"):
        read_table(tmp_path / "a.csv", ("label",), "a.zip")


def test_picture_without_a_way_to_make_it_is_not_readable(tmp_path: Path) -> None:
    picture = Picture(tmp_path / "a.png")

    assert picture.name == str(tmp_path / "a.png")
    with pytest.raises(NotImplementedError):
        picture.read()
