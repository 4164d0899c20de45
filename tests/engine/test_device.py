"""Device and precision: what the caller asks for, or the best available."""

from __future__ import annotations

import pytest
import torch

from tests.engine.support import CPU
from zeroshot.engine import choose_dtype, device
from zeroshot.errors import InputError


def test_cpu_without_bfloat16_uses_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: False)

    assert choose_dtype(None, CPU) is torch.float32


def test_cpu_with_bfloat16_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: True)

    assert choose_dtype(None, CPU) is torch.bfloat16


def test_unknown_dtype_or_device_error_lists_valid_ones() -> None:
    with pytest.raises(InputError, match="float32, bfloat16, float16"):
        choose_dtype("int3", CPU)
    with pytest.raises(InputError, match="try 'cpu'"):
        device.choose_device("toaster")
