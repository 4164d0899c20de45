"""The device of a test run, chosen with the environment variable ZEROSHOT_TEST_DEVICE.

    cpu        the default; GPUs are hidden, so that a result does not depend on the machine
    cuda       CUDA is the default device of `load`, and fixtures load on it (make test-gpu)
    simulated  models on the CPU run with the backend of GPUs instead of that of CPUs

A test that is skipped has a reason, and `-ra` prints it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

VARIABLE = "ZEROSHOT_TEST_DEVICE"
CHOICES = ("cpu", "cuda", "simulated")
CHOICE = os.environ.get(VARIABLE, "") or "cpu"
DEVICE = "cuda" if CHOICE == "cuda" else "cpu"  # of the fixtures
OF_THE_CPU_ENGINE = Path(__file__).parent / "engine" / "cpu"


def prepare(choice: str = CHOICE) -> None:
    """Apply a choice to this process; raise UsageError if it is not possible."""
    if choice not in CHOICES:
        raise pytest.UsageError(f"{VARIABLE}={choice!r}: expected one of {', '.join(CHOICES)}")
    if choice != "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise pytest.UsageError(
            f"no CUDA GPU: make test-gpu needs one; torch {torch.__version__} finds none"
        )
    if choice == "simulated":
        from zeroshot.engine import plain, runner

        runner.BACKENDS["cpu"] = runner.BACKENDS.get("cuda", plain.PlainBackend)


def header(choice: str = CHOICE) -> str:
    """Return the line of pytest's header that names the device."""
    name = f" ({torch.cuda.get_device_name()})" if choice == "cuda" else ""
    return f"zeroshot test device: {choice}{name}"


def mark(items: Iterable[pytest.Item], choice: str = CHOICE) -> None:
    """Skip the tests that the device of this run excludes, with the reason."""
    for item in items:
        if choice != "cuda" and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU: make test-gpu"))
        if choice == "simulated" and OF_THE_CPU_ENGINE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="tests the backend of CPUs"))
