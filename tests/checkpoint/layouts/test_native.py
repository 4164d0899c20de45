"""The package's own layout stores tensors, spec and int8 scales in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import zeroshot
from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.layouts.native import to_json
from zeroshot.errors import IncompatibleWeights


def test_spec_round_trips_through_json() -> None:
    for spec in (forms.VIT, forms.RESNET):
        document = json.loads(json.dumps(native.to_json(spec)))
        assert native.from_json(Fields(document, "x")) == spec


def test_loading_options_are_not_stored_in_the_spec(tmp_path: Path) -> None:
    model = zeroshot.load(forms.ours(forms.VIT, forms.tensors_of(forms.VIT), tmp_path), parity=True)

    assert model.preprocess.parity
    assert native.to_json(model.spec) == native.to_json(forms.VIT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("architecture.vision.kind", "cnn"),
        ("architecture.vision.kind", ["vit"]),
        ("architecture.vision.layers", "2"),
        ("architecture.vision.layers", [1, 1]),
        ("architecture.vision.heads", 3),
        ("architecture.vision.patch_size", 64),
        ("architecture.vision.activation", "relu"),
        ("architecture.text.eps", 0),
        ("architecture.text.context_length", 10**7),
        ("architecture.embed_dim", 10**7),
        ("preprocess.size", 33),
        ("preprocess.mean", [0, 0, float("inf")]),
        ("preprocess.mean", 3),
        ("tokenizer.merges", -1),
        ("tokenizer.merges", 50_000),
        ("tokenizer.merges", None),
        ("architecture", []),
    ],
)
def test_invalid_value_is_rejected_before_the_network_is_built(path: str, value: Any) -> None:
    document = json.loads(json.dumps(native.to_json(forms.VIT)))

    with pytest.raises(IncompatibleWeights):
        native.from_json(changed(document, path, value))


def test_values_beyond_half_precision_are_rejected(vit: Tensors) -> None:
    with pytest.raises(IncompatibleWeights, match=r"visual\.proj contains values beyond 65504"):
        native.halve({"visual.proj": torch.full((2, 2), 1e6)})


def test_failed_save_leaves_no_file(
    vit: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))

    with pytest.raises(OSError, match="full"):
        native.save(tmp_path / "a.safetensors", "a", forms.VIT, vit)

    assert list(tmp_path.iterdir()) == []


def test_tensor_with_two_names_is_written_twice(tmp_path: Path) -> None:
    shared = torch.ones(2, 2)

    native.save(tmp_path / "a.safetensors", "a", forms.VIT, {"a": shared, "b": shared})

    assert (tmp_path / "a.safetensors").exists()


def quantized(vit: Tensors) -> Tensors:
    rows = torch.randint(-127, 128, (64, 32), generator=torch.Generator().manual_seed(0))
    return vit | {"visual.proj": rows.to(torch.int8), "visual.proj.scale": torch.rand(64)}


def write(tensors: Tensors, path: Path) -> Path:
    save_file(tensors, path, {native.METADATA_KEY: json.dumps(to_json(forms.VIT))})
    return path


def test_int8_rows_are_multiplied_by_their_scales(vit: Tensors, tmp_path: Path) -> None:
    tensors = quantized(vit)

    network = reader.read(write(tensors, tmp_path / "a.safetensors")).network

    expected = tensors["visual.proj"].float() * tensors["visual.proj.scale"][:, None]
    assert torch.equal(network.visual.proj, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"visual.proj.scale": torch.ones(63)},
        {"visual.proj.scale": torch.ones(64, 1)},
        {"visual.proj.scale": torch.ones(1_000_000)},
        {"visual.proj": torch.ones(64, 32)},
        {"visual.proj": torch.tensor(1, dtype=torch.int8)},
    ],
)
def test_mismatched_int8_scales_are_rejected(wrong: Tensors, vit: Tensors, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleWeights, match=r"one \.scale per row"):
        reader.read(write(quantized(vit) | wrong, tmp_path / "a.safetensors"))


def test_int8_without_scales_is_rejected(vit: Tensors, tmp_path: Path) -> None:
    tensors = quantized(vit)
    del tensors["visual.proj.scale"]

    with pytest.raises(IncompatibleWeights, match=r"not floating point: visual\.proj of int8"):
        reader.read(write(tensors, tmp_path / "a.safetensors"))
