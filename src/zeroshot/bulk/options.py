"""Check the options of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroshot.arguments import iterator, one_of
from zeroshot.bulk.labeling import RowOptions
from zeroshot.bulk.shards import Shard
from zeroshot.bulk.sinks import SINKS, get_sink, parquet
from zeroshot.errors import InputError, MissingPackage, shortened

MOST_SCORES = 10_000  # labels


@dataclass(frozen=True)
class JobOptions:
    """Checked options of a run."""

    out: Path
    form: str
    rows: RowOptions
    shard: Shard
    part_rows: int | None
    keep: tuple[str, ...]
    read: Mapping[str, Any]  # for the sources
    retry: tuple[str, ...]
    most_errors: tuple[float, bool] | None  # a number of rows, or a percentage
    dedupe: bool
    limit: int | None
    dry_run: bool
    force: bool
    progress: bool | None


def choose_format(value: str | None, *, embeddings: bool, scores: str) -> str:
    """Return the format of the parts. Raises InputError or MissingPackage."""
    if value is None:
        if embeddings and not parquet.is_installed():
            raise MissingPackage(
                "embeddings=True requires pyarrow, because relabel and find read Parquet files "
                "only; run: pip install 'zeroshot-clip[parquet]', or pass format='jsonl' to read "
                "the embeddings with other programs"
            )
        return "parquet" if parquet.is_installed() else "jsonl"
    form = one_of("format", value, tuple(SINKS))
    if form == "csv" and (embeddings or scores == "all"):
        raise InputError(
            "format='csv' cannot store embeddings or the scores of all labels; use "
            "format='parquet' or 'jsonl'"
        )
    if form == "parquet":
        parquet.import_pyarrow()
    get_sink(form)
    return form


def check_labels(number: int) -> None:
    """Raise InputError if there are too many labels to store the scores of all."""
    if number > MOST_SCORES:
        raise InputError(
            f"scores='all' expects at most {MOST_SCORES:,} labels, got {number:,}; use "
            "scores='top' and a larger top"
        )


def parse_names(name: str, value: object) -> tuple[str, ...]:
    """Return names of columns, given as a list or as text with commas."""
    if isinstance(value, str):
        value = [each.strip() for each in value.split(",")]
    if isinstance(value, list | tuple | Set | Iterator):
        names = tuple(iterator(name, value))
        if all(isinstance(each, str) and each for each in names) and len({*names}) == len(names):
            return names
    raise InputError(
        f"expected {name} as a list of different names of columns, got {shortened(repr(value))}; "
        f"for example {name}=['caption']"
    )


def parse_most(value: object) -> tuple[float, bool] | None:
    """Return the number of errors that stops a run, and whether it is a percentage."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, False
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", value) if isinstance(value, str) else None
    if found is not None and (not found[2] or float(found[1]) <= 100):
        return float(found[1]), bool(found[2])
    raise InputError(
        f"expected max_errors as a number of rows or a percentage, got {shortened(repr(value))}; "
        "for example max_errors=100 or '5%'"
    )
