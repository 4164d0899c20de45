"""Fixtures of the checkpoint tests."""

from __future__ import annotations

import pytest

from tests.checkpoint import families, forms
from tests.checkpoint.forms import Tensors
from zeroshot.checkpoint.layouts import timm


@pytest.fixture(scope="module")
def vit() -> Tensors:
    """Tensors of the small ViT checkpoint, by this package's names; do not change them."""
    return forms.tensors_of(forms.VIT)


@pytest.fixture
def tiny_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the tiny towers of `families` to the table of timm's towers."""
    for name, config in families.TOWERS.items():
        monkeypatch.setitem(timm.TOWERS, name, config)
