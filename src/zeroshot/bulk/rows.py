"""Rows of the table that `zeroshot label` writes."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "zeroshot.labels/1"  # of the table; the number changes with the meaning of a column
SOURCE_BITS = 40  # `row` is source << SOURCE_BITS | number of the row in its source
LONGEST_ERROR = 300  # characters
HASH = 16  # bytes of `hash`


@dataclass(slots=True)
class Row:
    """One image: its labels, or its error.

    The fields are the columns of the table, in this order; `scores` and `embedding` are optional.
    """

    row: int
    source: str
    label: str | None = None  # None for an error, and if the classifier gives no answer
    probability: float | None = None  # of the best label, 0..1
    labels: tuple[str, ...] | None = None  # best first
    probabilities: tuple[float, ...] | None = None
    width: int | None = None  # of the upright image, in pixels
    height: int | None = None
    bytes: int | None = None  # of the file; None for a video frame or an array
    hash: builtins.bytes | None = None  # BLAKE2b of the file; None as for `bytes`
    duplicate_of: int | None = None  # `row` of an image with the same bytes
    error_kind: str | None = None  # a kind of ImageError, "io", "oom" or "internal"
    error: str | None = None
    scores: NDArray[np.float16] | None = None  # probability of each label [L]
    embedding: NDArray[np.float16] | None = None  # unit length [d]; zeros for an error
    kept: tuple[Any, ...] = ()  # columns copied from the input


VALUES = tuple(field.name for field in fields(Row) if field.name != "kept")


@dataclass(frozen=True)
class Columns:
    """What the columns of a run contain; equal for all of its parts."""

    labels: tuple[str, ...]  # all labels
    top: int  # length of `labels` and `probabilities`, at most
    dim: int | None  # of the embeddings, if they are stored
    has_scores: bool = False
    kept: tuple[str, ...] = ()  # names of the copied columns, without clashes
    kept_types: tuple[str, ...] = ()  # as pyarrow names them, such as "int64"; () is all "string"


def number_row(source: int, place: int) -> int:
    """Return the number of a row: `place` counts the rows of its source from 0."""
    return source << SOURCE_BITS | place


def restore_row(facts: Mapping[str, Any], columns: Columns) -> Row:
    """Return the row that a sink read from a part; columns that were not read are None."""
    found: dict[str, Any] = {name: facts.get(name) for name in VALUES}
    for name in ("labels", "probabilities"):
        values = found[name]
        found[name] = None if values is None else tuple(values)
    if found["error_kind"] is not None:
        found["scores"] = found["embedding"] = None
    return Row(**found, kept=tuple(facts[name] for name in columns.kept))


def printable(text: str) -> str:
    """Return text that UTF-8 can encode: bytes of a file name that are not UTF-8 are escaped."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
