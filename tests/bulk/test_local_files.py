"""Rows become paths of local files, and labels become folder names."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.local_files import (
    LONGEST_NAME,
    FolderNames,
    Skipped,
    check_probability,
    folded,
    local_file,
    numbered,
    safe_name,
)
from zeroshot.bulk.rows import number_row
from zeroshot.errors import InputError


def test_a_relative_source_starts_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()

    assert local_file({"source": "a.jpg"}, (), tmp_path) == tmp_path / "a.jpg"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("https://example.org/a.jpg", "URL"),
        ("s3://bucket/a.jpg", "URL"),
        ("zip::s3://bucket/a.jpg", "URL"),
        ("photos.zip#a.jpg", "inside another file"),
        ("photos.zip#../a.jpg", "inside another file"),
        ("gone.jpg", "file not found"),
        ("null\0.jpg", "file not found"),
        (".", "not a regular file"),
        ("a" * 5000, "file not found"),
    ],
)
def test_what_is_no_local_file_is_skipped_with_a_reason(
    source: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "photos.zip").touch()
    (tmp_path / "a.jpg").touch()

    assert local_file({"source": source}, (), tmp_path) == Skipped(reason)


def test_a_file_with_a_number_sign_in_its_name_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a#1.jpg").touch()

    assert local_file({"source": "a#1.jpg"}, (), tmp_path) == tmp_path / "a#1.jpg"


def test_a_member_of_an_archive_is_never_taken_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    row = {"source": "a.jpg", "row": number_row(1, 7)}

    found = local_file(row, ("list", "parquet"), tmp_path)

    assert found == Skipped("inside another file or remote (parquet)")
    assert local_file(row, ("zip", "list"), tmp_path) == tmp_path / "a.jpg"


def test_an_image_of_a_data_set_is_a_file_only_with_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"mine")
    row = {"source": "a.jpg", "row": 0}
    digests = [hashlib.blake2b(data, digest_size=16).digest() for data in (b"mine", b"theirs")]
    other = Skipped("another file has the name of the image")

    found = [local_file(row | {"hash": hash_}, ("iterable",), tmp_path) for hash_ in digests]

    assert found == [tmp_path / "a.jpg", other]
    assert local_file(row | {"hash": None}, ("iterable",), tmp_path) == other  # an array


def test_an_error_row_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()

    found = local_file({"source": "a.jpg", "error_kind": "truncated"}, (), tmp_path)

    assert found == Skipped("error row")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cat", "cat"),
        ("  a  cat ", "a cat"),
        ("and/or", "and_or"),
        ("../../etc", "__.._etc"),
        ("C:\\x", "C__x"),
        ("a?b*c|d", "a_b_c_d"),
        ("", "_"),
        (".", "_"),
        ("..", "_"),
        (".hidden", "_hidden"),
        ("dots...", "dots"),
        ("CON", "_CON"),
        ("com1.txt", "_com1.txt"),
        ("LPT\u00b9", "_LPT\u00b9"),
        ("console", "console"),
        ("e\u0301te\u0301", "été"),
        ("\u202egpj", "_gpj"),
        ("\ud800", "_"),
        ("line\nbreak", "line_break"),
        ("👨‍👩‍👧", "👨‍👩‍👧"),
    ],
)
def test_a_label_becomes_a_safe_folder_name(label: str, name: str) -> None:
    assert safe_name(label) == name


@given(st.text(st.characters(), max_size=200))
def test_every_safe_name_can_be_made_and_stays_the_same(label: str) -> None:
    name = safe_name(label)

    assert safe_name(name) == name
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\<>:"|?*\0\n')
    assert name == unicodedata.normalize("NFC", name)
    assert len(name.encode()) <= LONGEST_NAME + 1
    assert not name.endswith((" ", "."))


@given(st.lists(st.text(st.characters(), max_size=8), unique=True, max_size=30))
def test_different_labels_get_different_folders(labels: list[str]) -> None:
    names = FolderNames(["unsorted"])

    found = [folded(names[label]) for label in labels]

    assert len({*found, "unsorted"}) == len(labels) + 1
    assert [folded(names[label]) for label in labels] == found


def test_long_labels_with_an_equal_start_get_numbers() -> None:
    names = FolderNames()

    first, second = names["é" * 200 + "a"], names["é" * 200 + "b"]

    assert first == "é" * 60
    assert second.endswith("_2")
    assert len(second.encode()) <= LONGEST_NAME


def test_numbers_go_before_the_suffix() -> None:
    names = numbered("photo", ".jpg", limit=20)

    assert [next(names)[1] for _ in range(3)] == ["photo.jpg", "photo_2.jpg", "photo_3.jpg"]


def test_a_numbered_name_is_at_most_as_long_as_the_limit() -> None:
    name = next(numbered("é" * 120, ".jpg", limit=200, first=12))[1]

    assert len(name.encode()) <= 200
    assert name.endswith("é_12.jpg")


@pytest.mark.parametrize("value", [0, 1, 0.3, np.float32(0.5)])
def test_a_probability_is_a_number_from_0_to_1(value: float) -> None:
    assert check_probability("p", value) == value


@pytest.mark.parametrize("value", [-0.1, 40, float("nan"), "0.5", True, None])
def test_other_values_are_no_probability(value: object) -> None:
    with pytest.raises(InputError, match="must be a number from 0 to 1"):
        check_probability("p", value)
