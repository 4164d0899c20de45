"""Names that training scripts put before those of a state dict are stripped."""

from __future__ import annotations

import pytest
import torch

from zeroshot.checkpoint.layouts.wrappers import WRAPPERS, unwrap

NAMES = ("visual.proj", "token_embedding.weight", "logit_scale")


def wrapped(prefix: str, names: tuple[str, ...] = NAMES) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": torch.full((1,), float(n)) for n, name in enumerate(names)}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_each_wrapper_is_stripped(wrapper: str) -> None:
    assert unwrap(wrapped(f"{wrapper}.")) == wrapped("")


@pytest.mark.parametrize(
    "prefix", ["", "state_dict.module.", "model.state_dict.module.", "module.model.state_dict."]
)
def test_nested_wrappers_are_stripped(prefix: str) -> None:
    assert unwrap(wrapped(prefix)) == wrapped("")


def test_tensors_beside_the_wrapper_are_dropped() -> None:
    beside = {"optimizer.state.0": torch.zeros(1), "epoch": torch.zeros(())}

    assert unwrap(wrapped("state_dict.") | beside).keys() == set(NAMES)


def test_names_of_transformers_are_recognized_below_a_wrapper() -> None:
    names = ("vision_model.post_layernorm.weight", "text_model.final_layer_norm.weight")

    assert unwrap(wrapped("model.", names)) == wrapped("", names)


def test_prefix_without_an_image_tower_is_kept() -> None:
    tensors = wrapped("model.", ("encoder.weight", "decoder.weight"))

    assert unwrap(tensors) == tensors


def test_no_more_than_four_wrappers_are_stripped() -> None:
    tensors = wrapped("module." * 5)

    assert unwrap(tensors) == wrapped("module.")
