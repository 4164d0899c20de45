"""Names that training scripts put before those of a state dict are stripped."""

from __future__ import annotations

import pytest
import torch

from zeroshot.checkpoint.layouts.wrappers import (
    MAX_DEPTH,
    WRAPPERS,
    remove_inserted,
    towers_below,
    unwrap,
)

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


def test_the_number_of_wrappers_is_limited() -> None:
    tensors = wrapped("module." * (MAX_DEPTH + 1))

    assert unwrap(tensors) == wrapped("module.")


@pytest.mark.parametrize("prefix", ["clip.", "net.", "backbone.", "model.clip.", "a.b.c.module."])
@pytest.mark.parametrize("around", ["", "state_dict.", "module."])
def test_a_prefix_that_all_tensors_have_is_stripped(prefix: str, around: str) -> None:
    assert unwrap(wrapped(around + prefix)) == wrapped("")


def test_an_unknown_prefix_with_tensors_beside_it_is_kept() -> None:
    tensors = wrapped("clip.") | {"head.weight": torch.zeros(1)}

    assert unwrap(tensors) == tensors


def test_a_known_wrapper_drops_what_is_beside_it_before_a_common_prefix() -> None:
    tensors = wrapped("state_dict.clip.") | {"optimizer.state.0": torch.zeros(1)}

    assert unwrap(tensors) == wrapped("")


@pytest.mark.parametrize(
    "name",
    [
        "_orig_mod.visual.proj",
        "visual._orig_mod.proj",
        "_fsdp_wrapped_module.visual._checkpoint_wrapped_module.proj",
    ],
)
def test_segments_that_torch_inserts_are_removed_anywhere(name: str) -> None:
    assert list(remove_inserted({name: torch.zeros(1)})) == ["visual.proj"]


def test_inserted_segments_are_kept_if_two_names_would_be_equal() -> None:
    tensors = {"_orig_mod.a": torch.zeros(1), "a": torch.ones(1)}

    assert remove_inserted(tensors) == tensors


def test_prefixes_of_image_towers_are_listed() -> None:
    names = ["student.visual.proj", "teacher.model.vision_model.post_layernorm.bias", "head.bias"]

    assert towers_below(names) == ["student.", "teacher.model."]
