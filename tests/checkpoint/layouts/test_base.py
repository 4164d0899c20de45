"""The table of layouts, and the names that all layouts share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.checkpoint import forms
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import LAYOUTS
from zeroshot.checkpoint.layouts.base import join_projections, to_native_names
from zeroshot.errors import IncompatibleWeights


def test_each_layout_has_its_own_name() -> None:
    assert [layout.name for layout in LAYOUTS] == [
        "native",
        "openai",
        "perception_encoder",
        "mobileclip",
        "eva",
        "open_clip",
        "transformers",
    ]


NAMES = {  # of a file -> this package's
    "token_embedding.weight": "text.token_embedding.weight",
    "positional_embedding": "text.positional_embedding",
    "transformer.resblocks.0.ln_1.bias": "text.transformer.resblocks.0.ln_1.bias",
    "ln_final.weight": "text.ln_final.weight",
    "text_projection": "text.text_projection",
    "text.ln_final.bias": "text.ln_final.bias",
    "visual.positional_embedding": "visual.positional_embedding",
    "visual.transformer.resblocks.0.ln_1.bias": "visual.transformer.resblocks.0.ln_1.bias",
    "logit_scale": "logit_scale",
}


@pytest.mark.parametrize(("name", "ours"), NAMES.items())
def test_text_tower_gets_its_prefix(name: str, ours: str) -> None:
    assert to_native_names({name: (torch.ones(1),)}, "x").keys() == {ours}


@pytest.mark.parametrize(
    "name", ["visual.bn1.num_batches_tracked", "attn_mask", "text_model.embeddings.position_ids"]
)
def test_counters_and_constants_are_left_out(name: str) -> None:
    assert to_native_names({name: (torch.ones(1),)}, "x") == {}


def test_ignored_names_are_left_out() -> None:
    parts = {"vocab_size": (torch.ones(1),), "visual.proj": (torch.ones(1),)}

    assert to_native_names(parts, "x", ignored=("vocab_size",)).keys() == {"visual.proj"}


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_logit_scale_is_a_scalar_whatever_its_shape(shape: tuple[int, ...]) -> None:
    stored = to_native_names({"logit_scale": (torch.ones(shape),)}, "x")

    assert stored["logit_scale"].shape == ()


def test_two_tensors_of_one_name_are_rejected() -> None:
    parts = {"ln_final.bias": (torch.ones(1),), "text.ln_final.bias": (torch.ones(1),)}

    with pytest.raises(IncompatibleWeights, match=r"x\.pt: two tensors.*'text\.ln_final\.bias'"):
        to_native_names(parts, "x.pt")


@pytest.mark.parametrize("form", forms.VIT_FORMS, ids=lambda form: form.__name__)
def test_exactly_one_layout_is_first_to_recognize_a_checkpoint(
    form: forms.Form, vit: forms.Tensors, tmp_path: Path
) -> None:
    expected = {"ours": "native", "open": "open_clip", "openai": "openai"}
    expected["transformers"] = "transformers"
    path = form(forms.VIT, vit, tmp_path)

    found = reader.read(path).layout

    stem = form.__name__.split("_")[0]
    assert found == expected[stem]


def test_separate_projections_are_joined_and_incomplete_ones_keep_their_names() -> None:
    names = [f"a.attn.{letter}_proj.weight" for letter in "qkv"]
    tensors = {name: torch.full((2, 2), float(n)) for n, name in enumerate(names)}

    joined = join_projections(tensors | {"ln.weight": torch.ones(2)})
    (weight,) = [parts for name, parts in joined.items() if name == "a.attn.in_proj_weight"]

    assert joined.keys() == {"a.attn.in_proj_weight", "ln.weight"}
    assert [part[0, 0].item() for part in weight] == [0, 1, 2]
    assert join_projections(tensors | {names[1]: torch.ones(3, 2)}).keys() == tensors.keys()
    assert join_projections({names[0]: tensors[names[0]]}).keys() == {names[0]}
