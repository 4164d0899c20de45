"""A test run has one device, and says which tests that excludes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import devices

GPU_TEST = "test_on_gpu.py::test_an_index_beyond_the_last_gpu_is_refused_at_once"
ROOT = Path(__file__).parents[1]


def run_tests(path: Path, choice: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {devices.VARIABLE: choice, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", str(path)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_device_that_is_not_there_ends_the_run_at_once() -> None:
    done = run_tests(ROOT / "tests" / "test_files.py", "cuda")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no CUDA GPU: make test-gpu needs one" in done.stderr
    assert "passed" not in done.stdout


def test_an_unknown_device_is_a_usage_error() -> None:
    expected = "ZEROSHOT_TEST_DEVICE='gpu': expected one of cpu, cuda, simulated"

    with pytest.raises(pytest.UsageError, match=expected):
        devices.prepare("gpu")


def test_skipped_tests_are_printed_with_their_reason() -> None:
    done = run_tests(ROOT / "tests" / GPU_TEST, "simulated")

    assert done.returncode == 0, done.stdout
    assert "zeroshot test device: simulated" in done.stdout
    assert "needs a CUDA GPU: make test-gpu" in done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]


@pytest.mark.skipif(devices.CHOICE != "cpu", reason="runs with hidden GPUs")
def test_gpus_are_hidden_by_default() -> None:
    assert not torch.cuda.is_available()
