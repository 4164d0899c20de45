"""Check the arguments of public functions.

Each function returns the value in the type that the package works with, or raises InputError.
"""

from __future__ import annotations

import operator
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zeroshot.errors import InputError, shortened, some

SURROGATE = re.compile("[\ud800-\udfff]")


def integer(value: object) -> int | None:
    """Return any kind of integer as int, and None for other values. bool is no integer here."""
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, RuntimeError):  # RuntimeError: a tensor on the meta device
        return None


def count(
    name: str, value: object, least: int, otherwise: str = "", *, most: int = sys.maxsize
) -> int:
    """Return a number of things, given as any kind of integer, as int.

    `otherwise` is the end of the message: what else is allowed, or why.
    """
    number = integer(value)
    if number is None or not least <= number <= most:
        above = number is not None and number > most
        bound = f"at most {most}" if above else f"at least {least}"
        raise InputError(
            f"{name}={shortened(repr(value))} must be an integer of {bound}{otherwise}"
        )
    return number


def flag(name: str, value: object, otherwise: str = "") -> bool:
    """Return a bool of Python or numpy as bool."""
    kind = type(value)
    if kind is not bool and (kind.__module__, kind.__name__.rstrip("_")) != ("numpy", "bool"):
        raise InputError(f"{name}={shortened(repr(value))} must be True or False{otherwise}")
    return bool(value)


def one_of(name: str, value: object, options: Sequence[str]) -> str:
    """Return a str that is one of the options."""
    if not isinstance(value, str) or value not in options:
        expected = " or ".join(map(repr, options))
        raise InputError(f"{name}={shortened(repr(value))} must be {expected}")
    return value


def share(name: str, value: object) -> float:
    """Return a number between 0 and 1, both excluded."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InputError(
            f"expected {name} between 0 and 1, got {shortened(repr(value))}; for example {name}=0.9"
        )
    return value


def is_text(value: object) -> bool:
    """Return whether a value is text that can be encoded; half of a surrogate pair cannot."""
    return isinstance(value, str) and not SURROGATE.search(value)


def iterator(name: str, values: Any, kind: type[InputError] = InputError) -> Iterator[Any]:
    """Return an iterator over a collection; raise `kind` for a str and for other values."""
    try:
        if not isinstance(values, str | bytes):
            return iter(values)
    except (TypeError, ValueError):  # ValueError: a closed file
        pass
    raise kind(
        f"expected {name} to be a list, got {type(values).__name__} {shortened(repr(values))}; "
        "pass a list, even for a single value"
    )


def in_order(name: str, values: Any) -> None:
    """Raise InputError for a set or dict, whose order is not that of another collection."""
    if isinstance(values, set | frozenset | Mapping):
        raise InputError(
            f"expected {name} as a list, one entry per image, got {type(values).__name__} "
            f"{shortened(repr(values))}, whose order is not that of other lists; pass a list"
        )


def file_path(path: Any, kind: type[InputError] = InputError) -> Path:
    """Return a str or os.PathLike as Path; raise `kind` for other values."""
    try:
        if b"\0" not in os.fsencode(path):
            return Path(path)
    except (TypeError, UnicodeEncodeError):
        pass
    raise kind(
        f"expected a path as str or os.PathLike, got {type(path).__name__} "
        f"{shortened(repr(path))}; check the value"
    )


def require(name: str, value: object, members: Sequence[str], advice: str) -> None:
    """Raise InputError unless a value has these attributes and methods."""
    if missing := [member for member in members if not hasattr(value, member)]:
        raise InputError(
            f"expected {name} with {some(members)}, got {type(value).__name__} "
            f"{shortened(repr(value))} without {missing[0]}; {advice}"
        )


def instance(name: str, value: object, kind: Any, advice: str) -> None:
    """Raise InputError unless a value has this class."""
    if not isinstance(value, kind):
        raise InputError(
            f"expected {name} to be a {kind.__name__}, got {type(value).__name__} "
            f"{shortened(repr(value))}; {advice}"
        )
