"""Convert values of rows to those of files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from zeroshot.bulk.rows import printable

PLAIN = {"bool": (bool,), "int64": (int,), "double": (int, float), "string": (str,)}


def infer_kind(values: Iterable[Any]) -> str:
    """Return the narrowest type of a kept column: "bool", "int64", "double" or "string"."""
    found = {type(value) for value in values if value is not None}
    if found == {bool}:
        return "bool"
    if found == {int}:
        return "int64"
    return "double" if found and found <= {int, float} else "string"


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
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    return str(value)
