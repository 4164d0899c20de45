"""Formats of the table's parts.

Each module implements `Sink`. To add a format, write a module and add it to SINKS.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from zeroshot.arguments import one_of
from zeroshot.bulk.rows import Columns, Row

SINKS = {  # format -> module; the suffix of its files is the name of the format
    "parquet": "zeroshot.bulk.sinks.parquet",
    "csv": "zeroshot.bulk.sinks.csv",
    "jsonl": "zeroshot.bulk.sinks.jsonl",
}


class Sink(Protocol):
    """A module that writes and reads parts."""

    ROW_BYTES: int  # of a row without embeddings, about

    def write(
        self, rows: Sequence[Row], columns: Columns, metadata: Mapping[str, Any], file: Path
    ) -> None:
        """Write rows to a file. The same rows give the same bytes."""

    def read(self, file: Path, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of a file as plain values; with `names` perhaps only these columns."""


def get_sink(form: str) -> Sink:
    """Return the module of a format. Raises InputError for an unknown one."""
    one_of("format", form, tuple(SINKS))
    return cast(Sink, importlib.import_module(SINKS[form]))
