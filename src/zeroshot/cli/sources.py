"""What stands on a command line for images and labels becomes paths and label sets."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from zeroshot import prompts

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm")
SUFFIXES = {*PICTURES, ".heic", ".heif", ".jxl"}  # the last three with the extras of these names


def images(arguments: Iterable[str]) -> Iterator[str]:
    """Yield image paths: files and URLs as given, folders walked, patterns expanded, - from stdin.

    A folder gives every file in it with a picture's suffix, in order of name.
    """
    for argument in arguments:
        if argument == "-":
            lines = (line.rstrip("\r\n") for line in sys.stdin)
            yield from images(line for line in lines if line.strip())
        elif argument.startswith(("http://", "https://")):
            yield argument
        elif os.path.isdir(argument):
            paths = sorted(Path(argument).rglob("*"))
            yield from (str(p) for p in paths if p.suffix.lower() in SUFFIXES and p.is_file())
        elif glob.has_magic(argument) and not os.path.exists(argument):
            found = sorted(glob.glob(argument, recursive=True))
            yield from images(found)
            if not found:
                raise click.UsageError(f"no file matches the pattern {argument!r}")
        else:
            yield argument


def labels(text: str) -> dict[str, list[str]]:
    """Read --labels: "a,b,c", a shipped set's name, or a file (a leading @ is allowed)."""
    name = text.removeprefix("@")
    if text.startswith("@") or name in prompts.available() or prompts.is_file(name):
        return prompts.labels(name)
    return prompts.named([part.strip() for part in text.split(",") if part.strip()])
