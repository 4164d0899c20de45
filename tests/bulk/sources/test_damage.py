"""Damaged files are one error at the start or error rows, and no other exception."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bulk.sources.files import (
    contents,
    pictures,
    write_parquet,
    write_tar,
    write_video,
    write_zip,
)
from zeroshot.bulk.sources import open_sources
from zeroshot.errors import InputError

FILES = pictures(5)
ROUNDS = 80
MAKERS: dict[str, Callable[[Path], Path]] = {
    "a.tar": lambda path: write_tar(path, FILES),
    "a.tar.gz": lambda path: write_tar(path, FILES, "w:gz"),
    "a.tar.bz2": lambda path: write_tar(path, FILES, "w:bz2"),
    "a.tar.xz": lambda path: write_tar(path, FILES, "w:xz"),
    "deflate.zip": lambda path: write_zip(path, FILES),
    "bzip2.zip": lambda path: write_zip(path, FILES, zipfile.ZIP_BZIP2),
    "lzma.zip": lambda path: write_zip(path, FILES, zipfile.ZIP_LZMA),
    "a.mp4": write_video,
    "a.mkv": write_video,
    "a.avi": write_video,
}


def damage(content: bytes, numbers: random.Random) -> bytes:
    """Change, delete or insert bytes, more often near the end, where an index is."""
    changed = bytearray(content)
    for _ in range(numbers.choice((1, 1, 2, 5))):
        near_end = numbers.random() < 0.3
        place = numbers.randrange(max(0, len(changed) - 400) if near_end else 0, len(changed))
        kind = numbers.randrange(4)
        if kind == 0:
            changed[place] ^= 1 << numbers.randrange(8)
        elif kind == 1:
            changed[place] = numbers.choice((0, 127, 128, 255))
        elif kind == 2:
            del changed[place : place + numbers.choice((1, 10, 200))]
        else:
            changed[place:place] = numbers.randbytes(numbers.choice((1, 10, 100)))
    return bytes(changed)


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_file_gives_errors_of_images_only(name: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path / name)
    whole, numbers = path.read_bytes(), random.Random(0)
    for _ in range(ROUNDS):
        path.write_bytes(damage(whole, numbers))
        with suppress(InputError):
            found = contents(open_sources(path)[0].items())
            errors = [content for _, content in found if isinstance(content, str)]
            assert all(error.startswith("ImageError") for error in errors)


def test_parquet_file_that_is_cut_anywhere_is_an_error_at_the_start(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"image": FILES.values()})
    whole = path.read_bytes()
    for cut in range(0, len(whole), len(whole) // 50):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cannot be read"):
            open_sources(path)
