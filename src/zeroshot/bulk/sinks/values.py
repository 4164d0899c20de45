"""Convert values of rows to those of files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from zeroshot.bulk.rows import printable

INT64, EXACT = 1 << 63, 1 << 53  # limits of integers that int64 and double contain
PLAIN = {"bool": (bool,), "int64": (int,), "double": (int, float), "string": (str,)}


def infer_kind(values: Iterable[Any]) -> str:
    """Return the narrowest type of a kept column: "bool", "int64", "double" or "string"."""
    found: set[type] = set()
    least = most = 0
    for value in values:
        if value is not None:
            found.add(type(value))
            if type(value) is int:
                least, most = min(least, value), max(most, value)

    def fits(limit: int) -> bool:
        return -limit <= least and most < limit

    if found == {bool}:
        return "bool"
    if found == {int}:
        return "int64" if fits(INT64) else "string"
    return "double" if found and found <= {int, float} and fits(EXACT) else "string"


def convert_kept(values: list[Any], kind: str) -> list[Any]:
    """Return the values of a kept column; what is no text becomes JSON in a column of text."""
    return [to_text(value) for value in values] if kind == "string" else values


def to_text(value: Any) -> str | None:
    """Return a value as text, None for None."""
    if value is None:
        return None
    if isinstance(value, str):
        return printable(value)
    return json.dumps(to_plain(value), ensure_ascii=False, sort_keys=True)


def to_plain(value: Any) -> Any:
    """Return a value of any kind as JSON data."""
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {printable(str(name)): to_plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    return printable(str(value))
