"""Parse the images, sentences and labels of a command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

import click

from zeroshot import prompts
from zeroshot.errors import shortened
from zeroshot.labeling.sources import expand, read_list, walk


def images(arguments: Iterable[str]) -> Iterator[str]:
    """Yield image paths and URLs; the argument - reads paths from standard input."""
    for argument in arguments:
        yield from walk(read_list(sys.stdin)) if argument == "-" else expand(argument)


def sentences(arguments: Iterable[str]) -> Iterator[str]:
    """Yield sentences; the argument - reads them from standard input, one per line."""
    for argument in arguments:
        if argument == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield argument


def label_set(text: str) -> str | None:
    """Return the name of the packaged label set in --labels, or None."""
    name = text.removeprefix("@")
    return name if name in prompts.available() else None


def labels(text: str) -> dict[str, list[str]]:
    """Read --labels: "a,b,c", the name of a label set, or a file.

    A leading @ marks a set or a file. Raises UsageError for a single label.
    """
    name = text.removeprefix("@")
    is_file = prompts.is_file(name) or ("," not in text and prompts.looks_like_file(name))
    if text.startswith("@") or label_set(text) or is_file:
        return prompts.labels(name)
    listed = [part.strip() for part in text.split(",") if part.strip()]
    if len(listed) == 1:
        near = get_close_matches(name, prompts.available(), n=1)
        hint = f"did you mean the label set {near[0]!r}?" if near else "no such label set."
        raise click.UsageError(
            f"expected several labels, got --labels {shortened(text)!r}; {hint} Separate labels by "
            "commas"
        )
    return prompts.named(listed)
