"""The scripts in benchmarks/ run and write their tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TARGETS = {f"T{n}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17)}


def test_every_benchmark_runs_and_writes_its_table_and_plot(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--quick"]

    done = subprocess.run(
        [*command, "--work", str(work), "--out", str(out)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    rows = json.loads((work / "quick" / "rows.json").read_text("utf-8"))
    assert {row["number"] for row in rows} == TARGETS
    page = (out / "results.md").read_text("utf-8")
    assert all(f"| {target} |" in page for target in TARGETS)
    with Image.open(out / "results.png") as picture:
        assert picture.width > picture.height / 2


def test_only_the_named_targets_are_measured(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "text.py"), "--quick", "--only", "T9"]

    done = subprocess.run(
        [*command, "--work", str(tmp_path)], capture_output=True, text=True, check=True
    )

    lines = done.stdout.strip().split("\n")
    assert [line.split()[0] for line in lines[1:]] == ["T9"]


def test_decoders_are_compared_on_files_and_classified_images(tmp_path: Path) -> None:
    pytest.importorskip("simplejpeg")
    command = [sys.executable, str(BENCHMARKS / "decoding.py"), "--quick", "--only", "D1,D3"]

    done = subprocess.run([*command, "--work", str(tmp_path)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    numbers = [line.split()[0] for line in done.stdout.strip().split("\n")[1:]]
    assert numbers == ["D1"] * 7 + ["D3"]
