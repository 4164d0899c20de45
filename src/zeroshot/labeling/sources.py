"""Find images in paths, URLs, folders, glob patterns and lists of paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from zeroshot.errors import InputError

SUFFIXES = {  # file types to find in folders
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm"),
    *(".heic", ".heif", ".jxl"),  # require the package extras of these names
}
IMAGE_HEADS = (
    "\udcff\udcd8",
    "\udc89PNG",
    "RIFF",
    "GIF8",
)  # first bytes of images, as surrogate escapes of stdin


def expand(argument: str) -> Iterator[str]:
    """Yield the images of one argument: a file, a URL, a folder or a glob pattern.

    Folders are searched recursively. Raises InputError for a pattern without matches.
    """
    if glob.has_magic(argument) and not os.path.exists(argument) and "://" not in argument:
        found = sorted(glob.glob(argument, recursive=True))
        if not found:
            raise InputError(
                f"no file matches the pattern {argument!r}; check the pattern and the folder"
            )
        yield from walk(found)
    else:
        yield from walk([argument])


def walk(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths; for a folder, yield all image files in it, sorted by name."""
    for path in paths:
        if os.path.isdir(path):
            inside = sorted(Path(path).rglob("*"))
            yield from (str(p) for p in inside if p.suffix.lower() in SUFFIXES and p.is_file())
        else:
            yield path


def read_list(lines: Iterable[str]) -> Iterator[str]:
    """Yield one path per line, without pattern expansion.

    Raises InputError if the text is the content of an image.
    """
    for number, line in enumerate(lines):
        if "\0" in line or (number == 0 and line.startswith(IMAGE_HEADS)):
            raise InputError(
                "expected image paths on standard input, one per line, got data that looks like an "
                "image; pass the image by its file name"
            )
        if line.strip():
            yield line.rstrip("\r\n")
