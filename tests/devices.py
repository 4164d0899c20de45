"""The device of a test run, chosen with the environment variable ZEROSHOT_TEST_DEVICE.

    cpu        the default; GPUs are hidden, so that a result does not depend on the machine
    cuda       CUDA is the default device of `load`, and fixtures load on it (make test-gpu)
    simulated  the same with a GPU that `simulated_gpu` simulates on the CPU

A test that is skipped has a reason, and `-ra` prints it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
import torch

VARIABLE = "ZEROSHOT_TEST_DEVICE"
CHOICES = ("cpu", "cuda", "simulated")
CHOICE = os.environ.get(VARIABLE, "") or "cpu"
DEVICE = "cpu" if CHOICE == "cpu" else "cuda"  # of the fixtures


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
        from tests import simulated_gpu

        simulated_gpu.install()


def header(choice: str = CHOICE) -> str:
    """Return the line of pytest's header that names the device."""
    name = f" ({torch.cuda.get_device_name()})" if choice == "cuda" else ""
    return f"zeroshot test device: {choice}{name}"


def mark(items: Iterable[pytest.Item], choice: str = CHOICE) -> None:
    """Skip the tests that the device of this run excludes, with the reason."""
    for item in items:
        if choice != "cuda" and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU: make test-gpu"))
