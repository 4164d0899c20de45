"""Convolutions with packed weights, and without them."""

from __future__ import annotations

import pytest
import torch

from zeroshot.engine.cpu import convolution


def test_operators_that_compute_wrongly_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __getattr__(self, name: str) -> object:
            return lambda x, *rest: torch.zeros_like(x)

    monkeypatch.setattr(torch.ops, "mkldnn", Wrong())

    assert not convolution.can_pack.__wrapped__(torch.float32)


def test_operators_that_are_missing_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())

    assert not convolution.can_pack.__wrapped__(torch.float32)
