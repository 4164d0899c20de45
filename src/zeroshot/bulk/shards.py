"""Distribute the parts of a run over several processes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from zeroshot.errors import InputError, shortened

SLURM = (  # variables of the number of this task, of the first, of the step, and of the count
    (
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_STEP",
        "SLURM_ARRAY_TASK_COUNT",
    ),
    ("SLURM_PROCID", "", "", "SLURM_NTASKS"),
)
EXPECTED = "expected shard='I/N' with I from 1 to N, such as '1/4', or 'auto'"


@dataclass(frozen=True)
class Shard:
    """Which parts one of several processes computes."""

    index: int = 0  # from 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    def has(self, source: int, chunk: int = 0) -> bool:
        """Return whether this process computes a part; of a stream it computes all or none."""
        return (source + chunk) % self.count == self.index


def parse_shard(value: str | None, environment: Mapping[str, str] | None = None) -> Shard:
    """Return the shard of this process.

    Args:
        value: "I/N" with I from 1 to N; "auto" reads the variables of a Slurm job array, or else of
            a Slurm task, and is 1/1 without them; None is 1/1.
        environment: Variables; None reads those of this process.

    Raises:
        InputError: The value or a variable is invalid.

    Example:
        >>> parse_shard("2/8")
        Shard(index=1, count=8)
    """
    if value is None:
        return Shard()
    if isinstance(value, str) and value == "auto":
        return _read_slurm(os.environ if environment is None else environment)
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"{EXPECTED}, got {shortened(repr(value))}")
    return Shard(int(found[1]) - 1, int(found[2]))


def _read_slurm(environment: Mapping[str, str]) -> Shard:
    for names in SLURM:
        number, count = environment.get(names[0]), environment.get(names[3])
        if number is None or count is None:
            continue
        first, step = environment.get(names[1], "0"), environment.get(names[2], "1")
        texts = (number, first, step, count)
        if all(text.isascii() and text.isdigit() for text in texts):
            place, rest = divmod(int(number) - int(first), max(1, int(step)))
            if not rest and 0 <= place < int(count):
                return Shard(place, int(count))
        given = ", ".join(f"{name}={environment[name]!r}" for name in names if name in environment)
        raise InputError(f"{EXPECTED}; 'auto' found {shortened(given, 200)}; pass shard='I/N'")
    return Shard()
