"""Fixtures of the checkpoint tests."""

from __future__ import annotations

import pytest

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors


@pytest.fixture(scope="module")
def vit() -> Tensors:
    """Tensors of the small ViT checkpoint, by this package's names; do not change them."""
    return forms.tensors_of(forms.VIT)
