"""The identity of a model covers weights, activation, preprocessing and tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from tests.support import tiny_spec, tiny_tensors
from zeroshot.checkpoint.layouts import native


def write(folder: Path, change: dict[str, Any] | None = None, **spec: Any) -> zeroshot.Model:
    """Write the tiny model with one change, and load it."""
    from dataclasses import replace

    described = replace(tiny_spec(), **spec)
    path = folder / "changed.safetensors"
    native.save(path, "changed", described, tiny_tensors(described) | (change or {}))
    return zeroshot.load(path, device="cpu", dtype="float32")


def test_identity_is_reproducible(tiny: zeroshot.Model, tmp_path: Path) -> None:
    assert write(tmp_path).identity == tiny.identity


def test_identity_does_not_depend_on_stored_precision(tmp_path: Path) -> None:
    halved = {k: v.half() for k, v in tiny_tensors(tiny_spec()).items()}
    widened = {k: v.float() for k, v in halved.items()}
    first, second = write(tmp_path, halved).identity, write(tmp_path, widened).identity
    assert first == second


@pytest.mark.parametrize(
    "name",
    [
        "logit_scale",
        "visual.proj",
        "text.text_projection",
        "visual.conv1.weight",
        "text.token_embedding.weight",
        "visual.ln_post.bias",
    ],
)
def test_identity_changes_with_a_weight(name: str, tiny: zeroshot.Model, tmp_path: Path) -> None:
    tensor = tiny_tensors(tiny_spec())[name].clone()
    tensor.reshape(-1)[-1] += 0.01
    assert write(tmp_path, {name: tensor}).identity != tiny.identity


def changed_specs() -> Iterator[Any]:
    from dataclasses import replace

    spec = tiny_spec()
    network = spec.network
    vision = replace(network.vision, activation="gelu")  # type: ignore[type-var]
    yield pytest.param({"network": replace(network, vision=vision)}, id="image activation")
    text = replace(network.text, activation="gelu")
    yield pytest.param({"network": replace(network, text=text)}, id="text activation")
    text = replace(network.text, heads=4)
    yield pytest.param({"network": replace(network, text=text)}, id="heads")
    for change in (
        {"mean": (0.5, 0.5, 0.5)},
        {"resize_mode": "squash"},
        {"interpolation": "bilinear"},
    ):
        preprocess = replace(spec.preprocess, **change)  # type: ignore[arg-type]
        yield pytest.param({"preprocess": preprocess}, id=next(iter(change)))


@pytest.mark.parametrize("change", list(changed_specs()))
def test_identity_changes_with_activation_heads_and_preprocessing(
    change: dict[str, Any], tiny: zeroshot.Model, tmp_path: Path
) -> None:
    assert write(tmp_path, **change).identity != tiny.identity


def test_identity_does_not_depend_on_parity_or_decode(tiny_path: Path) -> None:
    plain, parity, fast = (
        zeroshot.load(tiny_path, device="cpu", dtype="float32", **options)
        for options in ({}, {"parity": True}, {"decode": "fast"})
    )

    assert plain.identity == parity.identity == fast.identity
    assert (plain.preprocess.parity, parity.preprocess.parity) == (False, True)
    parity.classifier(plain.head(["a", "b"]))  # so heads can be exchanged


def test_identity_does_not_depend_on_dtype(tiny: zeroshot.Model) -> None:
    assert tiny.to(dtype="bfloat16").identity == tiny.identity
