"""Find and read published files, and reject damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zeroshot
from examples.paper.datasets.files import (
    MissingFile,
    Picture,
    find,
    images_in,
    read_json,
    read_json_lines,
    read_text,
    root,
    rows,
)
from zeroshot.errors import ImageError, InputError, image_error


def test_first_of_several_files_is_found_or_all_are_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    assert find(tmp_path, "named", "data", ".") == tmp_path / "data"
    with pytest.raises(MissingFile, match="no named or other in") as caught:
        find(tmp_path, "named", "other")
    assert caught.value.missing == "named or other"


def test_folder_of_the_archive_is_optional(tmp_path: Path) -> None:
    (tmp_path / "outer" / "inner").mkdir(parents=True)

    assert root(tmp_path, "outer", "inner") == tmp_path / "outer" / "inner"
    assert root(tmp_path / "outer", "outer", "inner") == tmp_path / "outer" / "inner"
    assert root(tmp_path / "outer" / "inner", "outer", "inner") == tmp_path / "outer" / "inner"


def test_images_are_sorted_and_other_files_left_out(tmp_path: Path) -> None:
    for name in ("b.JPEG", "a.png", "README.txt", "c.jpg", "._c.jpg"):
        (tmp_path / name).touch()

    assert [path.name for path in images_in(tmp_path)] == ["a.png", "b.JPEG", "c.jpg"]


@pytest.mark.parametrize("read", [read_text, read_json], ids=["text", "json"])
def test_file_that_is_missing_or_not_utf8_is_rejected(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InputError, match="cannot be read as text"):
        read(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read as text"):
        read(tmp_path)
    with pytest.raises(MissingFile, match=r"no b\.json in"):
        read(tmp_path / "b.json")


def test_invalid_json_lines_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a"')

    with pytest.raises(InputError, match="line 3: invalid JSON"):
        list(read_json_lines(tmp_path / "a.jsonl"))


def test_quotes_are_syntax_in_csv_and_text_in_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,id\n"massaging, ""a"" head",x\n')
    (tmp_path / "a.tsv").write_text('sentence\tlabel\n"unclosed\t1\n')

    assert rows(tmp_path / "a.csv", ("label", "id")) == [
        {"label": 'massaging, "a" head', "id": "x"}
    ]
    assert rows(tmp_path / "a.tsv", ("sentence",), "\t") == [
        {"sentence": '"unclosed', "label": "1"}
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('label,id\n"abc,x\n', r"a\.csv, line "),
        ("", "expected the columns label, id, got no label, id"),
        ("label,id\nabc\n", "row 2: expected 2 fields, got fewer"),
    ],
    ids=["quote", "empty", "short row"],
)
def test_damaged_table_is_rejected(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "a.csv").write_text(content)

    with pytest.raises(InputError, match=problem):
        rows(tmp_path / "a.csv", ("label", "id"))


@pytest.mark.parametrize("shape", [(8, 6, 3), (8, 6)], ids=["color", "gray"])
def test_picture_is_read_without_loss(tiny: zeroshot.Model, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    array, image = Picture("a", lambda: pixels), Picture("b", lambda: Image.fromarray(pixels))
    embeddings = tiny.encode_image([array, image, pixels])

    assert (embeddings == embeddings[2]).all()


@pytest.mark.parametrize(
    "error",
    [InputError("the row is short"), image_error("decode_failed", "a/1", "the row is short")],
    ids=["input", "image"],
)
def test_picture_that_cannot_be_made_is_a_failure_with_its_reason(
    tiny: zeroshot.Model, error: Exception
) -> None:
    def make() -> Image.Image:
        raise error

    (outcome,) = tiny.classifier(["a", "b"]).stream([Picture("a/1", make)], on_error="yield")

    assert isinstance(outcome, zeroshot.Failure)
    assert outcome.source == "a/1"
    assert isinstance(outcome.error, ImageError)
    assert str(outcome.error) == "a/1: the row is short"
