"""Facts of the machine: usable cores and the processor's name."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest

from zeroshot.machine import cores, processor


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1


def test_cores_respect_the_affinity_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)

    assert cores() == 3


@pytest.mark.parametrize(("count", "expected"), [(8, 8), (None, 1)])
def test_cores_fall_back_to_the_cpu_count(
    count: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)

    assert cores() == expected


def test_the_processor_name_is_read_from_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "processor : 0\nmodel name\t: Some CPU @ 3.00GHz \nflags : fpu\nmodel name : other\n"
    monkeypatch.setattr(Path, "read_text", lambda path, *arguments: content)

    assert processor() == "Some CPU @ 3.00GHz"


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("Apple M3", "arm64"), "Apple M3"), (("", "arm64"), "arm64"), (("", ""), os.name)],
)
def test_the_processor_name_falls_back_without_cpuinfo(
    names: tuple[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *arguments: Any) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "read_text", fail)
    monkeypatch.setattr(platform, "processor", lambda: names[0])
    monkeypatch.setattr(platform, "machine", lambda: names[1])

    assert processor() == expected
