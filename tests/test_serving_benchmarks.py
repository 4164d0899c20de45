"""The benchmark of the server runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "serving.py"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_benchmark_of_the_server_runs(tiny_path: Path) -> None:
    pytest.importorskip("fastapi", reason="requires the serve extra")
    pytest.importorskip("uvicorn", reason="requires the serve extra")
    command = [sys.executable, str(SCRIPT), "--quick", "--model", str(tiny_path)]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["B13", *["B14"] * 3, "B15"]
    assert "exit codes {0: 1}" in done.stdout
