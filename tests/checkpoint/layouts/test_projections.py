"""Queries, keys and values of different dtypes are joined without loss."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import zeroshot
from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from zeroshot.checkpoint import reader
from zeroshot.errors import IncompatibleWeights

MIXED = {"q": torch.float16, "k": torch.float32, "v": torch.bfloat16}


def with_projections(vit: Tensors, folder: Path, dtypes: dict[str, torch.dtype]) -> Tensors:
    """Write a checkpoint with random q, k and v of these dtypes; return what they are joined to."""
    random = torch.Generator().manual_seed(3)
    joined: Tensors = {}
    for name in (name for name in vit if ".attn.in_proj_" in name):
        parts = torch.randn(vit[name].shape, generator=random).chunk(3)
        joined[name] = torch.cat(
            [p.to(dtypes[q]).float() for q, p in zip("qkv", parts, strict=True)]
        )
    forms.transformers(forms.VIT, vit | joined, folder)
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if found := re.search(r"\.([qkv])_proj\.", name):
            tensors[name] = tensors[name].to(dtypes[found[1]])
    save_file(tensors, folder / "model.safetensors")
    return joined


def test_projections_of_different_dtypes_are_joined_exactly(vit: Tensors, tmp_path: Path) -> None:
    expected = with_projections(vit, tmp_path, MIXED)

    found = reader.read(tmp_path)

    assert {name.rpartition("_")[2] for name in expected} == {"weight", "bias"}
    for name, values in expected.items():
        assert torch.equal(found.weights.read(name), values)
        assert torch.equal(found.weights.as_stored()[name], values)


def test_a_model_with_projections_of_different_dtypes_is_saved_exactly(
    vit: Tensors, tmp_path: Path
) -> None:
    with_projections(vit, tmp_path, MIXED)
    model = zeroshot.load(tmp_path, device="cpu", dtype="float32")
    model.save(tmp_path / "saved.st.safetensors")

    saved = zeroshot.load(tmp_path / "saved.st.safetensors", device="cpu", dtype="float32")

    assert saved.identity == model.identity
    torch.testing.assert_close(saved.encode_text("a cat"), model.encode_text("a cat"))


def test_projections_that_are_not_floating_point_are_rejected(vit: Tensors, tmp_path: Path) -> None:
    with_projections(vit, tmp_path, MIXED | {"k": torch.int32})

    with pytest.raises(IncompatibleWeights, match=r"not floating point: .*in_proj_.* of int32"):
        reader.read(tmp_path)
