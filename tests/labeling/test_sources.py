"""Images are found by path, folder, pattern and list."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from zeroshot.errors import ImageError, InputError, shortened
from zeroshot.images.formats import DECODED
from zeroshot.labeling import sources
from zeroshot.labeling.sources import (
    SUFFIXES,
    Skipped,
    expand,
    read_image,
    read_list,
    read_start,
    walk,
)


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


@pytest.mark.parametrize("pattern", ["**", "**/*", "*"])
def test_an_image_in_a_folder_that_the_pattern_matches_too_is_yielded_once(
    folder: Path, pattern: str
) -> None:
    (folder / "notes.txt").unlink()
    (folder / "sub/e").unlink()

    assert sorted(expand(f"{folder}/{pattern}")) == sorted(expand(str(folder)))


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
    lines = b"a.jpg\n\n two spaces .png\r\nb[1]*.jpg\n  \n-\nlast.png"

    assert list(read_list(io.BytesIO(lines))) == [
        *("a.jpg", " two spaces .png", "b[1]*.jpg", "-", "last.png")
    ]


@pytest.mark.parametrize("content", [b"a.jpg\nb.jpg\n", b"BM.bmp\nb.jpg", b"a\nb\n", b"x"])
def test_a_list_continues_after_its_first_bytes(content: bytes) -> None:
    for size in (1, 3, 512):
        file = Slow(content, size)
        start = read_start(file)

        assert list(read_list(file, start=start)) == content.decode().split()


class Slow(io.BytesIO):
    """A pipe whose writer is slow: a few bytes arrive at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self.size = size

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(min(self.size, size or 0))


def test_a_path_is_yielded_before_the_next_one_arrives() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as file, open(writing, "wb", 0) as writer:
        writer.write(b"a.jpg\n")

        assert next(read_list(file, start=read_start(file))) == "a.jpg"


@pytest.mark.parametrize("size", [1, 7, 512])
def test_an_image_is_read_whole_from_a_pipe(size: int) -> None:
    content = b"\x89PNG\r\n\x1a\n" + b"\n" * 2_000
    file = Slow(content, size)
    start = read_start(file)

    sample = read_image(file, "<stdin>", start)

    assert content.startswith(start)
    assert len(start) == 512
    assert (sample.key, sample.image) == ("<stdin>", content)


def test_an_image_in_a_pipe_has_a_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_PIPE", 100)

    assert read_image(io.BytesIO(b"x" * 60), "a", b"x" * 40).image == b"x" * 100
    with pytest.raises(ImageError, match="a: expected an image of at most 100 bytes, got more"):
        read_image(io.BytesIO(b"x" * 61), "a", b"x" * 40)


def test_paths_before_a_nul_character_are_yielded() -> None:
    paths = read_list(io.BytesIO(b"a.jpg\nb\0.jpg\n"))

    assert next(paths) == "a.jpg"
    with pytest.raises(InputError, match="got NUL bytes; use -0"):
        next(paths)


def test_suffixes_are_those_of_the_supported_formats() -> None:
    Image.init()
    registered = {suffix for suffix, name in Image.EXTENSION.items() if name in DECODED}

    assert registered <= SUFFIXES
    assert {".jfif", ".jif", ".jfi", ".dib", ".pgm", ".tif", ".jxl", ".heif"} <= SUFFIXES


@pytest.mark.parametrize("suffix", [".JFIF", ".jpe", ".mpo", ".apng", ".dib", ".PGM", ".Tif"])
def test_every_suffix_is_found_in_any_case(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").touch()

    assert list(expand(str(tmp_path))) == [str(tmp_path / f"a{suffix}")]


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "root" / "b.jpg").symlink_to(tmp_path / "real" / "a.jpg")

    found = relative(list(expand(str(tmp_path / "root"))), tmp_path / "root")

    assert found == ["b.jpg", "link/a.jpg"]


def test_skipped_files_are_counted_by_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.txt", "c.TXT", "README", ".hidden.jpg", "._a.jpg", ".dir/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "z.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    closed = tmp_path / "closed"
    closed.mkdir()
    listdir = os.listdir

    def refuse(path: str) -> list[str]:
        if path == str(closed):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    skipped = Skipped()

    assert relative(list(expand(str(tmp_path), skipped)), tmp_path) == ["a.jpg"]
    assert len(skipped) == 6
    text = str(skipped)
    assert "3 with an unsupported suffix (" in text
    assert ".txt" in text
    assert "README" in text
    assert f"1 broken link ({shortened(str(tmp_path / 'z.jpg'), 120)})" in text
    assert "1 not a regular file (" in text
    assert "1 unreadable folder: Permission denied (" in text


def test_a_hidden_folder_is_searched_if_it_is_given(tmp_path: Path) -> None:
    folder = tmp_path / ".photos"
    folder.mkdir()
    (folder / "a.jpg").touch()

    assert list(expand(str(folder))) == [str(folder / "a.jpg")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_lists_with_a_byte_order_mark_are_read(encoding: str) -> None:
    content = "č.jpg\r\nb c.png\n\n".encode(encoding)

    assert list(read_list(io.BytesIO(content))) == ["č.jpg", "b c.png"]


def test_a_list_in_invalid_utf16_is_rejected() -> None:
    with pytest.raises(InputError, match="invalid UTF-16"):
        list(read_list(io.BytesIO(b"\xff\xfea")))


def test_paths_can_be_separated_by_nul() -> None:
    content = b"a\nb.jpg\0caf\xe9.png\0\0 c.jpg"

    found = list(read_list(io.BytesIO(content), null=True))

    assert [os.fsencode(path) for path in found] == [b"a\nb.jpg", b"caf\xe9.png", b" c.jpg"]
