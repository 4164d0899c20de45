"""The scripts in benchmarks/ run and write their tables."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from zeroshot.images.jpeg import find_decoder

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TARGETS = {f"T{n}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17)}
GPU_TARGETS = [f"G{n}" for n in (1, 2, 3, 4, 5, 7)]  # G6 is the test suite itself


def gpu_benchmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


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


def test_the_benchmark_of_new_labels_runs_and_keeps_only_its_table(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "relabel.py"), "--quick", "--work", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    rows = [line.split("  ")[0] for line in done.stdout.splitlines()[1:]]
    assert rows == ["relabel, 3 labels", "relabel, 50 labels", "find", "merge to CSV"]
    assert [path.name for path in tmp_path.iterdir()] == ["labels-5000"]


def test_the_gpu_benchmark_runs_on_a_cpu_and_writes_every_row(tmp_path: Path) -> None:
    out = tmp_path / "out"

    done = gpu_benchmark("--quick", "--device", "cpu", "--work", str(tmp_path), "--out", str(out))

    assert done.returncode == 0, done.stderr
    page = (out / "results-cuda.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| G")]
    assert [line.split()[1] for line in rows] == GPU_TARGETS
    assert "host to device, uint8 pageable" in page
    assert "Not measured in this run: G6." in page
    assert f"JPEG decoder of zeroshot: {find_decoder()}." in page
    installed = importlib.util.find_spec("transformers") is not None
    assert all(installed or "not installed" in line for line in rows)


def test_the_gpu_benchmark_exits_without_a_gpu(tmp_path: Path) -> None:
    done = gpu_benchmark("--work", str(tmp_path), CUDA_VISIBLE_DEVICES="")

    assert done.returncode == 1
    assert done.stderr.startswith("no CUDA GPU: benchmarks/gpu.py needs one")


def test_full_sizes_of_the_gpu_benchmark_are_refused_on_a_cpu(tmp_path: Path) -> None:
    done = gpu_benchmark("--device", "cpu", "--work", str(tmp_path))

    assert done.returncode == 1
    assert "--device cpu needs --quick" in done.stderr


def test_decoders_are_compared_on_files_and_classified_images(tmp_path: Path) -> None:
    pytest.importorskip("simplejpeg")
    command = [sys.executable, str(BENCHMARKS / "decoding.py"), "--quick", "--only", "D1,D3"]

    done = subprocess.run([*command, "--work", str(tmp_path)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    numbers = [line.split()[0] for line in done.stdout.strip().split("\n")[1:]]
    assert numbers == ["D1"] * 7 + ["D3"]
