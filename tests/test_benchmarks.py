from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from zeroshot import Model
from zeroshot.cli import main
from zeroshot.diagnostics.bench import (
    Rounds,
    alternate,
    draw,
    flop_per_image,
    gemm,
    measure,
    random_pixels,
)
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig, TextConfig, ViTConfig

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TARGETS = {f"T{n}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14)}
SMALL = NetworkConfig(
    16,
    ViTConfig(32, 8, 32, 2, 2, 128, "quick_gelu"),
    TextConfig(77, 600, 32, 2, 2, 128, "quick_gelu"),
)


def test_every_benchmark_runs_and_writes_its_table_and_picture(tmp_path: Path) -> None:
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


def test_only_what_is_named_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "text.py"), "--quick", "--only", "T9"]

    done = subprocess.run(
        [*command, "--work", str(tmp_path)], capture_output=True, text=True, check=True
    )

    lines = done.stdout.strip().split("\n")
    assert [line.split()[0] for line in lines[1:]] == ["T9"]


def test_ratios_are_medians_within_rounds() -> None:
    rounds = Rounds({"ours": [1.0, 1.0, 4.0], "theirs": [2.0, 3.0, 8.0]}, {"float32": [1.0] * 3})

    assert rounds.ratio("ours", "theirs") == 2.0
    assert rounds.median("ours") == 1.0
    assert rounds.share("theirs", flop=1.5e9, dtype="float32") == 0.5


def test_contenders_take_turns_forth_and_back() -> None:
    seen: list[str] = []

    alternate({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2)

    assert "".join(seen) == "ababba"


def test_the_probe_is_a_speed() -> None:
    assert 0 < gemm("float32", side=32) < math.inf


def test_the_work_of_an_image_is_that_of_its_linear_maps() -> None:
    tokens, width = 1 + (32 // 8) ** 2, 32
    linear = 2 * (tokens - 1) * 3 * 64 * width + 2 * 24 * tokens * width**2 + 2 * width * 16

    found = flop_per_image(Network(SMALL).visual, 32)

    assert linear <= found < 1.3 * linear  # and attention


def test_drawn_weights_tell_images_apart() -> None:
    network = Network(SMALL)
    network.load_state_dict(draw(SMALL))
    with torch.inference_mode():
        found = torch.nn.functional.normalize(network.visual(random_pixels(4, 32)))

    assert float((found @ found.T - torch.eye(4)).max()) < 0.99


def test_a_report_compares_the_fast_way_with_the_plain_one(tiny: Model) -> None:
    report = measure(tiny, rounds=1, batch=3, labels=2)

    assert {finding.work for finding in report.findings} == {"3 images", "1 image", "16 sentences"}
    assert all(finding.agreement > 0.98 for finding in report.findings)
    assert report.machine["torch"] == torch.__version__


@pytest.mark.parametrize("layout", [[], ["--json"]], ids=["table", "json"])
def test_the_command_prints_a_report(layout: list[str], tiny_path: Path) -> None:
    found = CliRunner().invoke(main, ["bench", "--model", str(tiny_path), "--quick", *layout])

    assert found.exit_code == 0, found.output
    if layout:
        assert json.loads(found.output)["findings"][0]["work"] == "2 images"
    else:
        assert "agreement" in found.output
