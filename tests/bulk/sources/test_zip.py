"""Images in zip archives are read from threads; bombs and damage are error rows."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bulk.sources.files import contents, error_of, pictures, write_zip
from zeroshot.bulk.sources import zip as module
from zeroshot.bulk.sources.reading import Options
from zeroshot.bulk.sources.zip import ZipSource
from zeroshot.errors import InputError

FILES = pictures(6)
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
}


def source(path: Path) -> ZipSource:
    [found] = module.open_source(str(path), Options())
    return found


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_images_are_the_members_in_their_order(method: int, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {**FILES, "a.txt": b"", "__MACOSX/._1.jpg": b""}, method)
    found = source(path)

    assert contents(found.items()) == [(f"{path}#{n}", c) for n, c in FILES.items()]
    assert found.count() == len(FILES)
    assert found.skipped == {".txt": 1, ".jpg": 1}


@given(first=st.integers(0, 9))
def test_items_from_a_row_are_the_rest_of_all_items(
    first: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = source(write_zip(tmp_path_factory.mktemp("zip") / "a.zip", FILES))

    assert contents(found.items(first)) == contents(islice(found.items(0), first, None))


def test_many_threads_read_the_right_members(tmp_path: Path) -> None:
    files = {f"{n}.jpg": bytes([n]) * (n * 100) for n in range(200)}
    items = list(source(write_zip(tmp_path / "a.zip", files)).items())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda item: item.read(), items)) == list(files.values())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_member_that_expands_more_than_100_times_is_refused(method: int, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bomb.png": bytes(3_000_000), "a.jpg": b"1"}, method)

    assert [content for _, content in contents(source(path).items())] == [
        "ImageError too_large_bytes",
        b"1",
    ]
    assert "more than 100 times as many, are refused" in str(error_of(source(path), 0))


def test_small_picture_of_one_color_is_no_bomb(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"flat.bmp": bytes(500_000)})

    assert contents(source(path).items()) == [(f"{path}#flat.bmp", bytes(500_000))]


def test_member_whose_size_in_the_index_is_wrong_is_an_error_row(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bomb.png": bytes(3_000_000)})
    content = path.read_bytes().replace((3_000_000).to_bytes(4, "little"), b"\x10\x27\0\0")
    path.write_bytes(content)

    assert [content for _, content in contents(source(path).items())] == [
        "ImageError decode_failed"
    ]


def test_encrypted_and_damaged_members_are_error_rows(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF  # inside the first member
    second = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    content[second + 8] |= 1  # encrypted
    path.write_bytes(content)
    found = [content for _, content in contents(source(path).items())]

    assert found[:2] == ["ImageError decode_failed", "ImageError unsupported_format"]
    assert found[2:] == list(FILES.values())[2:]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\5\6" + b"\xff" * 18], ids=repr)
def test_file_that_is_no_archive_is_an_error_at_the_start(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)

    with pytest.raises(InputError, match="not a readable zip archive"):
        source(path)


def test_member_without_a_name_is_ignored(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": b"1", "b.jpg": b"2"})
    path.write_bytes(path.read_bytes().replace(b"a.jpg", b"\0.jpg"))

    assert contents(source(path).items()) == [(f"{path}#b.jpg", b"2")]


def test_facts_change_with_a_member(tmp_path: Path) -> None:
    facts = source(write_zip(tmp_path / "a.zip", FILES)).facts()

    changed = source(write_zip(tmp_path / "a.zip", {**FILES, "0/000.jpeg": b"1"})).facts()

    assert facts["index"] != changed["index"]


def test_archive_is_closed_when_its_items_are_gone(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES)
    item = next(source(path).items())

    assert item.read() == FILES["0/000.jpeg"]  # a file left open is a warning, which is an error
