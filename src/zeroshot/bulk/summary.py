"""What a run has done, and what its table contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Summary:
    """What a run has done, and what its table contains.

    Args:
        rows: Rows of the table, those of earlier runs included.
        errors: Number of rows with an error by kind, those of earlier runs included.
        duplicates: Number of rows that repeat another image.
        seconds: Time of this run.
        images_per_second: Rows that this run computed per second.
        skipped: Number of files in folders that are no images, by reason.
        out: The folder.
        computed: Rows that this run computed.
        is_complete: No part is missing. False if parts of other shards are, or if `max_errors`
            stopped the run.
        stopped: Why the run stopped early, or None.
        new_files: Files in the folders that are not in the table, because they were added after the
            run had started.
        retried: Rows with an error that this run computed again.
        repaired: Those of them that have no error any more.
        plan: With dry_run=True a dict per input: kind, name, rows (or None), columns, bytes.

    Example:
        >>> zeroshot.label(["cat.jpg"], "table", labels=["cat", "dog"], model="mini").rows
        1
    """

    rows: int
    errors: Mapping[str, int]
    duplicates: int
    seconds: float
    images_per_second: float
    skipped: Mapping[str, int]
    out: Path
    computed: int = 0
    is_complete: bool = True
    stopped: str | None = None
    new_files: int = 0
    retried: int = 0
    repaired: int = 0
    plan: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
