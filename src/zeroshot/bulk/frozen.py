"""Keep the list of images that a run started with, so that later files do not move its rows."""

from __future__ import annotations

import os
from glob import has_magic
from pathlib import Path
from typing import Any

from zeroshot.bulk.folder import INPUTS, commit
from zeroshot.bulk.items import Source
from zeroshot.bulk.sinks import parquet
from zeroshot.bulk.sinks.values import infer_kind
from zeroshot.bulk.sources.listing import Listing


def freeze(listing: Listing, number: int, folder: Path) -> str:
    """Write the list of a source to the output folder; return the name of the file.

    The name contains a digest of the list: another process that starts at the same time may have
    found other files.
    """
    form = "parquet" if parquet.is_installed() else "jsonl"
    name = f"{INPUTS}-{number:05}-{listing.facts()['digest'][:16]}.{form}"
    commit(folder / name, lambda path: listing.freeze(path, form))
    return name


def types_of(source: Source) -> tuple[str, ...]:
    """Return the types of a source's kept columns, as pyarrow names them."""
    if not source.columns:
        return ()
    given = getattr(source, "kept_types", None)  # of a source whose file has types
    if given is not None:
        return tuple(given)
    if not isinstance(source, Listing):
        return ("string",) * len(source.columns)
    places = range(len(source.columns))
    return tuple(infer_kind(row[place] for row in source.kept) for place in places)


def is_searched(inputs: Any) -> bool:
    """Return whether the inputs name a folder, a pattern or a pipe, whose files may change."""
    if isinstance(inputs, str | os.PathLike):
        text = os.fsdecode(inputs)
        return text == "-" or os.path.isdir(text) or (has_magic(text) and not os.path.exists(text))
    if isinstance(inputs, list | tuple):
        return any(is_searched(each) for each in inputs)
    return False
