"""Contact sheets show thumbnails of local files with captions."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from zeroshot.bulk.sheets import CELL, LINES, check_sheet, write_sheet
from zeroshot.errors import InputError, SaveError


def test_a_page_shows_thumbnails_and_escapes_names(photos: list[Path], tmp_path: Path) -> None:
    names = [str(photos[0]), "a.zip#<script>.jpg", "https://example.org/a.jpg"]

    write_sheet(tmp_path / "a.html", "a <b>", [(name, "0.300 cat") for name in names])

    page = (tmp_path / "a.html").read_text("utf-8")
    assert page.count("<img src='data:image/jpeg;base64,") == 1
    assert "<script" not in page
    assert "a.zip#&lt;script&gt;.jpg" in page
    assert "<h1>a &lt;b&gt;</h1>" in page
    assert page.count("http") == 1  # the name; nothing is loaded


def test_a_picture_has_a_cell_for_each_image(photos: list[Path], tmp_path: Path) -> None:
    captions = [(str(path), "0.300 Straße 🐈") for path in photos] + [("missing.jpg", "0.1")]

    write_sheet(tmp_path / "a.jpg", "", captions)

    with Image.open(tmp_path / "a.jpg") as sheet:
        assert sheet.size == (5 * CELL, 2 * (CELL + LINES))
        corner = sheet.convert("L").crop((0, 0, CELL, CELL))
    assert corner.getextrema()[0] < 200  # a thumbnail on white


@pytest.mark.parametrize("name", ["a.html", "a.JPEG"])
def test_no_images_give_an_empty_sheet(name: str, tmp_path: Path) -> None:
    write_sheet(tmp_path / name, "nothing", [])

    assert (tmp_path / name).stat().st_size > 100


@pytest.mark.parametrize("name", ["a.html", "a.jpg"])
def test_only_our_own_sheet_is_replaced(name: str, tmp_path: Path) -> None:
    write_sheet(tmp_path / name, "first", [])
    check_sheet(tmp_path / name)

    (tmp_path / name).write_bytes(b"<html>mine</html>")
    with pytest.raises(InputError, match="not a contact sheet that zeroshot wrote"):
        check_sheet(tmp_path / name)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end with \.html or \.jpg"):
        check_sheet(tmp_path / "a.gif")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"a\.html"):
        write_sheet(tmp_path / "x" / "a.html", "", [])


def test_a_damaged_file_has_a_caption_only(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no image")

    write_sheet(tmp_path / "a.jpg", "", [(str(tmp_path / "bad.jpg"), "0.1")])
    write_sheet(tmp_path / "a.html", "", [(str(tmp_path / "bad.jpg"), "0.1")])

    assert "<img" not in (tmp_path / "a.html").read_text("utf-8")
