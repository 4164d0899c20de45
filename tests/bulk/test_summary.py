"""What a run returns."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from zeroshot.bulk.summary import Summary


def test_a_summary_is_a_value() -> None:
    summary = Summary(3, {"io": 1}, 0, 1.5, 2.0, {".txt": 1}, Path("out"))

    assert summary == Summary(3, {"io": 1}, 0, 1.5, 2.0, {".txt": 1}, Path("out"))
    assert summary.is_complete
    with pytest.raises(FrozenInstanceError):
        summary.rows = 4  # type: ignore[misc]
