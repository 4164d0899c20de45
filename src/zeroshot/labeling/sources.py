"""Find images: paths and URLs as given, folders walked, patterns expanded, lists of paths read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from zeroshot.errors import InputError

SUFFIXES = {  # of files that a folder is searched for
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm"),
    *(".heic", ".heif", ".jxl"),  # with the extras of these names
}
IMAGE_HEADS = ("\udcff\udcd8", "\udc89PNG", "RIFF", "GIF8")  # bytes, as stdin escapes them


def expand(argument: str) -> Iterator[str]:
    """Yield image paths of one argument: a file or URL as given, a folder walked, or a pattern.

    Raises InputError for a pattern that matches no file.
    """
    if glob.has_magic(argument) and not os.path.exists(argument) and "://" not in argument:
        found = sorted(glob.glob(argument, recursive=True))
        if not found:
            raise InputError(f"no file matches the pattern {argument!r}")
        yield from walk(found)
    else:
        yield from walk([argument])


def walk(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths; of a folder every file in it with an image's suffix, sorted by name."""
    for path in paths:
        if os.path.isdir(path):
            inside = sorted(Path(path).rglob("*"))
            yield from (str(p) for p in inside if p.suffix.lower() in SUFFIXES and p.is_file())
        else:
            yield path


def read_list(lines: Iterable[str]) -> Iterator[str]:
    """Yield the paths that lines of text hold, each taken literally: names may hold [ or *.

    Raises InputError when the text is an image rather than paths.
    """
    for number, line in enumerate(lines):
        if "\0" in line or (number == 0 and line.startswith(IMAGE_HEADS)):
            raise InputError(
                "standard input holds what looks like a picture, wanted paths, one a line; give a "
                "picture by its file name"
            )
        if line.strip():
            yield line.rstrip("\r\n")
