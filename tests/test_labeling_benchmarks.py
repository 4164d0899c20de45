"""The benchmarks of labeling run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def benchmark(script: str, work: Path, *options: str) -> list[str]:
    """Run a benchmark with tiny sizes; return the lines of its table."""
    command = [sys.executable, str(BENCHMARKS / script), "--quick", "--work", str(work), *options]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().split("\n")[1:]


def test_labeling_is_compared_with_a_stream_and_measured_without_a_model(tmp_path: Path) -> None:
    lines = benchmark("labeling.py", tmp_path)

    assert [line.split()[0] for line in lines] == ["B5"] * 4 + ["B6", "B7"]
    assert "400 rows, 40 damaged" in lines[-2]


def test_other_tools_are_compared_if_they_are_installed(tmp_path: Path) -> None:
    lines = benchmark("labeling_peers.py", tmp_path, "--only", "P2")

    ours = [line for line in lines if "rows, 20 of them errors" in line]
    assert len(ours) == 1
    assert "zeroshot label" in ours[0]
    assert "0 rows lost" in ours[0]
