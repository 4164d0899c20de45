"""Read the fields of a JSON config file one by one.

Errors name the file and the field.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from zeroshot.errors import IncompatibleWeights, shortened, some
from zeroshot.spec import CLIP_MERGES, CLIP_SYMBOLS, Spec, finite

MAX_CONFIG = 2**20  # bytes; limit for a config file; the largest of CLIP has 20 kB


Value = TypeVar("Value")


class Fields:
    """A JSON object of a config file."""

    def __init__(self, content: object, source: str, prefix: str = "") -> None:
        if not isinstance(content, dict):
            raise IncompatibleWeights(
                f"{source}: expected {prefix.rstrip('.') or 'the file'} to be a JSON object, got "
                f"{reprlib.repr(content)}; download the file again",
                source=source,
            )
        self.content, self.source, self.prefix = content, source, prefix

    def part(self, key: str) -> Fields:
        """Return the object under a key; a missing one is empty."""
        value = self.content.get(key)
        return Fields({} if value is None else value, self.source, f"{self.prefix}{key}.")

    def flag(self, key: str) -> bool:
        """Return whether a switch is on; a missing one is off."""
        value = self.content.get(key)
        if value is None:
            return False
        if not isinstance(value, int) or value not in (0, 1):
            raise self.field_error(key, value, "true or false")
        return bool(value)

    def number(self, key: str, default: int | None = None) -> int:
        """Return a positive integer; a pair of equal integers counts as one."""
        value = self.content.get(key)
        value = default if value is None else value
        if isinstance(value, list) and value and value.count(value[0]) == len(value) <= 2:
            value = value[0]  # height and width
        if type(value) is not int or not 0 < value < 2**31:
            raise self.field_error(key, value, "a positive integer")
        return value

    def real(self, key: str, default: float) -> float:
        """Return a number."""
        value = self.content.get(key, default)
        if isinstance(value, bool) or not finite(value, above=-(2.0**31)) or value > 2**31:
            raise self.field_error(key, value, "a number")
        return float(value)

    def choice(self, key: str, values: Mapping[Any, Value], default: str) -> Value:
        """Return what the name under a key stands for; null is a name like others."""
        name = self.content.get(key, default)
        if not isinstance(name, str | None) or name not in values:
            names = ["null" if each is None else each for each in values]
            raise self.field_error(key, name, f"one of {', '.join(names)}")
        return values[name]

    def channels(
        self, key: str, default: tuple[float, float, float] | None = None
    ) -> tuple[float, float, float]:
        """Return one number per color channel."""
        value = self.content.get(key)
        value = default if value is None else value
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = [value] * 3
        if (
            not isinstance(value, list | tuple)
            or len(value) != 3
            or any(isinstance(each, bool) for each in value)
            or not finite(*value, above=-1000)
            or max(value) > 1000
        ):
            raise self.field_error(key, value, "three numbers, one per color channel")
        return float(value[0]), float(value[1]), float(value[2])

    def allow_only(self, known: Iterable[str]) -> None:
        """Raise IncompatibleWeights for an unsupported field.

        Supported are fields that are read or known to be harmless.
        """
        present = {name for name, value in self.content.items() if value is not None}
        if unknown := sorted(present - set(known)):
            names = some([f"{self.prefix}{name}" for name in unknown])
            raise IncompatibleWeights(
                f"{self.source}: unsupported fields {shortened(names, 300)}; they may change the "
                "network, so the checkpoint is rejected",
                source=self.source,
            )

    def require(self, **values: object) -> None:
        """Raise IncompatibleWeights if a field is present and has another value."""
        for key, value in values.items():
            found = self.content.get(key)
            if found is not None and found != value:
                raise self.field_error(key, found, f"{value!r}; other networks are not supported")

    def field_error(self, key: str, value: object, expected: str) -> IncompatibleWeights:
        """Return the error for a field without the expected value."""
        return IncompatibleWeights(
            f"{self.source}: {self.prefix}{key} is {reprlib.repr(value)}, expected {expected}",
            source=self.source,
        )


def read_config(path: Path) -> Fields:
    """Read a config file."""
    with path.open("rb") as file:
        return parse_config(file.read(MAX_CONFIG + 1), str(path))


def parse_config(text: str | bytes, source: str) -> Fields:
    """Parse the JSON text of a config file of limited length."""
    if len(text) > MAX_CONFIG:
        raise IncompatibleWeights(
            f"{source}: expected a config file of at most {MAX_CONFIG} bytes, got a larger one; "
            "it is not a CLIP config",
            source=source,
        )
    try:
        return Fields(json.loads(text), source)
    except (ValueError, RecursionError) as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise IncompatibleWeights(
            f"{source}: invalid JSON ({error}); download the file again", source=source
        ) from error


def check_spec(spec: Spec, source: str) -> Spec:
    """Return the spec if it is valid.

    Raises IncompatibleWeights with the field if it is not.
    """
    for field, value, expected in spec.problems():
        raise IncompatibleWeights(
            f"{source}: {field} is {reprlib.repr(value)}, expected {expected}", source=source
        )
    return spec


def require_clip_vocabulary(vocab_size: int, source: str) -> None:
    """Raise IncompatibleWeights unless the vocabulary has CLIP's size."""
    if vocab_size != CLIP_MERGES + CLIP_SYMBOLS:
        raise IncompatibleWeights(
            f"{source}: expected CLIP's vocabulary of {CLIP_MERGES + CLIP_SYMBOLS} ids, got "
            f"{vocab_size}; the config file of the checkpoint must name another tokenizer",
            source=source,
        )


def use_other(library: str) -> str:
    """Return the advice for a network that only its own library runs."""
    return f"use {library} for this model, or try another of zeroshot.available_models()"
