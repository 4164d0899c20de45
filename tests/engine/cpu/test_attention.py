"""Attention in plain steps or fused, the same result either way."""

from __future__ import annotations

import pytest
import torch

from zeroshot.engine.cpu import attention


@pytest.mark.parametrize(
    ("has", "dtype", "written_out"),
    [
        (["AVX512-BF16"], torch.bfloat16, True),
        (["AVX512-BF16"], torch.float32, False),
        (["AVX512-BF16", "AMX"], torch.bfloat16, False),
        ([], torch.bfloat16, False),
    ],
)
def test_attention_is_written_out_where_it_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch,
    has: list[str],
    dtype: torch.dtype,
    written_out: bool,
) -> None:
    monkeypatch.setattr(attention, "cpu_has", has.__contains__)

    assert attention.is_written_out(dtype) is written_out
