"""What stands on a command line for images and labels becomes paths and label sets."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

import click

from zeroshot import prompts
from zeroshot.errors import shortened

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm")
PICTURE_HEADS = ("\udcff\udcd8", "\udc89PNG", "RIFF", "GIF8")  # bytes, as stdin escapes them
SUFFIXES = {*PICTURES, ".heic", ".heif", ".jxl"}  # the last three with the extras of these names


def images(arguments: Iterable[str]) -> Iterator[str]:
    """Yield image paths: files and URLs as given, folders walked, patterns expanded, - from stdin.

    A folder gives every file in it with a picture's suffix, in order of name.
    """
    for argument in arguments:
        if argument == "-":
            yield from _walked(_lines())
        elif glob.has_magic(argument) and not os.path.exists(argument) and "://" not in argument:
            found = sorted(glob.glob(argument, recursive=True))
            if not found:
                raise click.UsageError(f"no file matches the pattern {argument!r}")
            yield from _walked(found)
        else:
            yield from _walked([argument])


def sentences(arguments: Iterable[str]) -> Iterator[str]:
    """Yield sentences: as given, - those of standard input, one a line."""
    for argument in arguments:
        if argument == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield argument


def _walked(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if os.path.isdir(path):
            inside = sorted(Path(path).rglob("*"))
            yield from (str(p) for p in inside if p.suffix.lower() in SUFFIXES and p.is_file())
        else:
            yield path


def _lines() -> Iterator[str]:
    """Yield the paths that standard input lists, each taken as it is: names may hold [ or *."""
    for number, line in enumerate(sys.stdin):
        if "\0" in line or (number == 0 and line.startswith(PICTURE_HEADS)):
            raise click.UsageError(
                "standard input holds what looks like a picture, wanted paths, one a line; give a "
                "picture by its file name"
            )
        if line.strip():
            yield line.rstrip("\r\n")


def label_set(text: str) -> str | None:
    """Return the name of the shipped set that --labels means, if it means one."""
    name = text.removeprefix("@")
    return name if name in prompts.available() else None


def labels(text: str) -> dict[str, list[str]]:
    """Read --labels: "a,b,c", a shipped set's name, or a file (a leading @ is allowed)."""
    name = text.removeprefix("@")
    if text.startswith("@") or label_set(text) or prompts.is_file(name):
        return prompts.labels(name)
    listed = [part.strip() for part in text.split(",") if part.strip()]
    if len(listed) == 1:
        near = get_close_matches(name, prompts.available(), n=1)
        hint = f"did you mean the set {near[0]!r}?" if near else "no set or file is called so."
        raise click.UsageError(
            f"--labels {shortened(text)!r} is a single label; {hint} Separate labels by commas"
        )
    return prompts.named(listed)
