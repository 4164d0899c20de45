"""The script for several GPUs in docs/gpu.md runs, with processes on the CPU in place of GPUs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "gpu.md").read_text("utf-8")
BLOCKS = re.findall(r"^```py\n(.*?)^```", PAGE, re.M | re.S)


def test_the_script_for_several_gpus_labels_every_file_once(tmp_path: Path) -> None:
    (code,) = [block for block in BLOCKS if "get_context" in block]
    assert 'device=f"cuda:{gpu}"' in code
    script = tmp_path / "label.py"
    script.write_text(code.replace('f"cuda:{gpu}"', '"cpu"').replace("dog", "coffee"), "utf-8")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("cat.jpg", "coffee.jpg"):
        (folder / name).write_bytes((ROOT / "examples" / "photos" / name).read_bytes())
    (folder / "broken.jpg").write_bytes(b"no image")

    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    answers = dict(line.split() for line in done.stdout.splitlines())
    assert {Path(path).name: answer for path, answer in answers.items()} == {
        "broken.jpg": "error",
        "cat.jpg": "cat",
        "coffee.jpg": "coffee",
    }


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_the_page_compiles(block: str) -> None:
    compile(block, "docs/gpu.md", "exec")


def test_the_targets_of_the_page_are_those_of_the_benchmark() -> None:
    benchmark = (ROOT / "benchmarks" / "gpu.py").read_text("utf-8")

    for number, least in (("G1", "1.35"), ("G3", "5"), ("G4", "12"), ("G5", "3"), ("G7", "1.1")):
        row = re.search(rf"^\| {number} \|.*at least ([\d.]+) times", PAGE, re.M)
        assert row is not None
        assert row[1] == least
        assert re.search(rf'"{number}".*\b{least}(\.0)?\b|least={least}(\.0)?\b', benchmark), number
