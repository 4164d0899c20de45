"""The probe recipes from the command line, on files of a published format."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import zeroshot
from examples.paper import few_shot, linear_probe, pretrain, shapes
from tests.support import photograph

pytest.importorskip("examples.paper.datasets.table")
pytest.importorskip("examples.paper.samples")

ROOT = Path(__file__).parents[2]
LABELS = zeroshot.prompts.labels("cifar10")
BATCHES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10's binary version: records of a label and three planes of 32 x 32 bytes."""
    place = tmp_path_factory.mktemp("cifar10")
    (place / "batches.meta.txt").write_text("\n".join(LABELS) + "\n")
    for batch, name in enumerate(BATCHES):
        records = []
        for label in range(10):
            image = photograph(32, 32, seed=label).astype(int) + 4 * batch - 10
            planes = image.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
            records.append(bytes([label]) + planes.tobytes())
        (place / f"{name}.bin").write_bytes(b"".join(records))
    return place


def arguments(folder: Path, tiny_path: Path) -> list[str]:
    return ["cifar10", str(folder), "--model", str(tiny_path), "--device", "cpu"]


def test_linear_probe_prints_accuracy_interval_and_c(
    folder: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    linear_probe.main(arguments(folder, tiny_path))

    printed = capsys.readouterr()
    first, accuracy, mean, intervals, chosen = printed.out.splitlines()[:5]
    assert first.startswith("cifar10, ")
    assert first.endswith(": 50 training images")
    assert accuracy == "Test accuracy on 10 images 100.0 % (72.2-100.0)."
    assert mean == "Mean per class 100.0 %."
    assert intervals.startswith("In parentheses: 95 % intervals")
    assert chosen.startswith("C = ")
    steps = printed.err.splitlines()
    assert steps[:2] == [
        "embedding 50 training images",
        "choosing C: at most 15 fits on 40 images",
    ]
    assert 7 <= sum(step.startswith("fit ") for step in steps) <= 15
    assert steps[-2].startswith("training on 50 images with C = ")
    assert steps[-1] == "embedding 10 test images"


def test_few_shot_prints_a_row_for_each_number_of_images(
    folder: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few_shot.main([*arguments(folder, tiny_path), "--draws", "1"])

    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "embedding 40 training images",
        "embedding 10 test images",
        *(f"images for each label: {n}, random choices of them: 1" for n in (1, 2, 4)),
    ]
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("     ")] == ["1", "2", "4"]
    assert "A label has 5 training images, so [8, 16] are left out." in lines


@pytest.mark.parametrize("main", [linear_probe.main, few_shot.main])
def test_limit_samples_both_splits(
    main: Callable[[list[str]], None], folder: Path, tiny_path: Path
) -> None:
    with pytest.raises(zeroshot.errors.InputError, match=r"every label, got 0|at least 2"):
        main([*arguments(folder, tiny_path), "--limit", "1"])


@pytest.mark.parametrize("seed", ["-1", str(2**32), "9" * 5000, "x", "1.5"], ids=lambda s: s[:12])
@pytest.mark.parametrize("main", [linear_probe.main, few_shot.main, pretrain.main, shapes.main])
def test_seed_out_of_range_is_a_usage_error(
    main: Callable[[list[str]], None], seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["out"] if main == shapes.main else ["cifar10", "folder"]

    with pytest.raises(SystemExit) as caught:
        main([*given, f"--seed={seed}"])

    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert f"--seed: expected an integer within 0..{2**32 - 1}, got" in printed
    assert len(printed) < 1500


@pytest.mark.parametrize("main", [linear_probe.main, few_shot.main])
def test_help_says_that_the_limit_is_of_both_splits(
    main: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    printed = " ".join(capsys.readouterr().out.split())
    assert "use random samples of N training images and of N test images" in printed


@pytest.mark.parametrize("name", ["linear_probe", "few_shot"])
def test_unknown_data_set_is_one_line_on_stderr(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.paper.{name}", "cifar11", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: no data set named 'cifar11'")
    assert len(done.stderr.splitlines()) == 1
