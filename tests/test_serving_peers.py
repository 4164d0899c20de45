"""The benchmark that compares the server with other servers runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "serving_peers.py"
PEERS = ("transformers", "torchvision", "open_clip", "litserve")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run the benchmark with tiny networks; return the lines of its table."""
    for module in ("fastapi", "uvicorn", "python_multipart"):
        pytest.importorskip(module, reason="requires the serve extra")
    work = str(tmp_path_factory.mktemp("work"))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--work", work],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().split("\n")[1:]


def measured(lines: list[str], name: str) -> list[str]:
    return [line for line in lines if f"vs. {name}  " in line and "images/s" in line]


@pytest.mark.parametrize("name", ["zeroshot serve", "zeroshot serve --dtype float32"])
def test_the_server_is_measured_in_both_precisions(lines: list[str], name: str) -> None:
    rows = measured(lines, name)

    assert len(rows) == 2
    assert all(" 0 errors" in row for row in rows)


@pytest.mark.parametrize("name", ["FastAPI, transformers pipeline", "LitServe, open_clip"])
def test_other_servers_are_measured_and_agree(lines: list[str], name: str) -> None:
    for module in PEERS:
        pytest.importorskip(module, reason="the compared servers are not installed")
    rows = measured(lines, name)
    (agreement,) = [line for line in lines if "difference" in line and f"vs. {name}  " in line]

    assert len(rows) == 2
    assert all(" 0 errors" in row for row in rows)
    assert float(re.findall(r"\d\.\de[-+]\d\d", agreement)[0]) < 0.01
