"""A name, repository or path is loaded as a model, or the error says what to do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from zeroshot.errors import InputError, ModelNotFound


def test_load_accepts_device_and_dtype(tiny_path: Path) -> None:
    model = zeroshot.load(str(tiny_path), device=torch.device("cpu"), dtype="bfloat16")
    assert (model.device.type, model.dtype) == ("cpu", torch.bfloat16)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "gpu"}, "device='gpu'"),
        ({"device": "cuda"}, "no CUDA GPU"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"dtype": "fp16"}, "choose one of"),
    ],
)
def test_unavailable_devices_and_dtypes_are_rejected(
    tiny_path: Path, options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=says):
        zeroshot.load(tiny_path, **options)


def test_paths_can_be_relative_and_strings(
    tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_path.parent)
    for name in ("tiny.safetensors", "./tiny.safetensors", ".", Path("tiny.safetensors")):
        assert zeroshot.load(name, device="cpu").identity == tiny.identity


@pytest.mark.parametrize("name", ["./none", "/none/at/all", Path("none"), "~/none.safetensors"])
def test_a_missing_path_is_reported(name: str | Path) -> None:
    with pytest.raises(ModelNotFound, match="no such file or folder"):
        zeroshot.load(name)


@pytest.mark.parametrize(
    ("name", "near"), [("ViT-B-33", "ViT-B/32"), ("vit b 32x", "ViT-B/32"), ("RN5O", "RN50")]
)
def test_an_unknown_name_suggests_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ModelNotFound, match=f"did you mean '{near}'"):
        zeroshot.load(name, offline=True)


@pytest.mark.parametrize("name", [None, 5, b"ViT-B/32", ["ViT-B/32"]])
def test_a_name_of_another_type_is_rejected(name: Any) -> None:
    with pytest.raises(InputError, match=type(name).__name__):
        zeroshot.load(name)


def test_available_models_lists_unique_names() -> None:
    names = zeroshot.available_models()
    assert "ViT-B/32" in names
    assert "mini" in names
    assert len(names) == len(set(names))


def test_loading_and_classifying_give_no_warning(tiny_path: Path, photos: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = zeroshot.load(tiny_path, device="cpu")
        model.classifier(["a", "b"])(photos)


@pytest.mark.parametrize("name", ["nofile.pt", "weights/none.safetensors"])
def test_a_missing_weights_file_is_not_reported_as_an_unknown_name(name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"no such file \(working folder"):
        zeroshot.load(name)


def test_an_empty_name_is_rejected() -> None:
    with pytest.raises(InputError, match="name is empty"):
        zeroshot.load("")
