"""OpenAI's archives are recognized by their extra tensors, and read off tensor shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from zeroshot.checkpoint import reader
from zeroshot.errors import IncompatibleWeights


def test_traced_model_without_the_extra_tensors_is_not_recognized(
    vit: Tensors, tmp_path: Path
) -> None:
    forms.save_torchscript(forms.openai(vit), tmp_path / "traced.pt")

    with pytest.raises(IncompatibleWeights, match="with which activation"):
        reader.read(tmp_path / "traced.pt")
