"""Images are found by path, folder, pattern and list."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zeroshot.errors import InputError
from zeroshot.labeling.sources import SUFFIXES, expand, read_list, walk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", "sub/c.webp", "sub/deep/d.tiff", "sub/e", "f.heic"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    return tmp_path


def relative(paths: list[str], folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in paths]


@pytest.mark.parametrize("path", ["cat.jpg", "https://example.org/a[1].jpg", "http://x/*.png", ""])
def test_files_and_urls_are_yielded_unchanged(path: str) -> None:
    assert list(expand(path)) == [path]


def test_a_folder_yields_the_images_in_all_its_subfolders(folder: Path) -> None:
    assert relative(list(expand(str(folder))), folder) == [
        *("a.png", "b.JPG", "f.heic", "sub/c.webp", "sub/deep/d.tiff")
    ]


def test_an_empty_folder_yields_nothing(tmp_path: Path) -> None:
    assert list(expand(str(tmp_path))) == []


def test_a_pattern_yields_its_matches_sorted(folder: Path) -> None:
    assert relative(list(expand(f"{folder}/[ab].*")), folder) == ["a.png", "b.JPG"]


def test_a_recursive_pattern_yields_files_of_subfolders(folder: Path) -> None:
    assert relative(list(expand(f"{folder}/**/*.webp")), folder) == ["sub/c.webp"]


def test_a_pattern_that_matches_a_folder_yields_its_images(folder: Path) -> None:
    assert relative(list(expand(f"{folder}/s*b")), folder) == ["sub/c.webp", "sub/deep/d.tiff"]


def test_a_pattern_without_matches_is_rejected(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no file matches the pattern .*none-\*"):
        list(expand(f"{folder}/none-*"))


def test_an_existing_file_is_not_treated_as_a_pattern(folder: Path) -> None:
    path = folder / "a[1].png"
    path.touch()

    assert list(expand(str(path))) == [str(path)]


def test_walk_keeps_the_order_of_its_paths(folder: Path) -> None:
    found = list(walk(["z.jpg", str(folder / "sub"), "a.jpg"]))

    assert [os.path.basename(path) for path in found] == ["z.jpg", "c.webp", "d.tiff", "a.jpg"]


def test_suffixes_are_in_lower_case() -> None:
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)


def test_a_list_yields_its_lines_literally() -> None:
    lines = ["a.jpg\n", "\n", " two spaces .png\r\n", "b[1]*.jpg\n", "  \n", "-\n", "last.png"]

    assert list(read_list(lines)) == [*("a.jpg", " two spaces .png", "b[1]*.jpg", "-", "last.png")]


@pytest.mark.parametrize(
    "content", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP", b"GIF89a", b"a\0b"]
)
def test_an_image_instead_of_a_list_is_rejected(content: bytes) -> None:
    with pytest.raises(
        InputError, match=r"expected image paths .* got data that looks like an image"
    ):
        list(read_list([content.decode("utf-8", "surrogateescape")]))


def test_paths_before_a_nul_character_are_yielded() -> None:
    paths = read_list(["a.jpg\n", "b\0.jpg\n"])

    assert next(paths) == "a.jpg"
    with pytest.raises(InputError):
        next(paths)
