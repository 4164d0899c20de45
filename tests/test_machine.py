"""Facts of the machine: usable cores and the processor's name."""

from __future__ import annotations

from zeroshot.machine import cores


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1
