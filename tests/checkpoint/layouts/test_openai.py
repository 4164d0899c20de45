"""OpenAI's archives are recognized by their extra tensors, and read off tensor shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import openai
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published, Spec


def test_traced_model_without_the_extra_tensors_is_not_recognized(
    vit: Tensors, tmp_path: Path
) -> None:
    forms.save_torchscript(forms.openai(vit), tmp_path / "traced.pt")

    with pytest.raises(IncompatibleWeights, match="do not determine activation"):
        reader.read(tmp_path / "traced.pt")


def stored(spec: Spec) -> dict[str, StoredTensor]:
    return {name: StoredTensor((tensor,)) for name, tensor in forms.tensors_of(spec).items()}


LIKE = Published("quick_gelu", PreprocessConfig(224))


@pytest.mark.parametrize("spec", [forms.VIT, forms.RESNET], ids=["vit", "resnet"])
def test_architecture_is_read_off_the_shapes(spec: Spec) -> None:
    assert openai.from_shapes(stored(spec), LIKE, "x.pt") == spec


def test_activation_and_preprocessing_are_those_of_like() -> None:
    like = Published("gelu", PreprocessConfig(224, interpolation="bilinear", resize_mode="squash"))

    spec = openai.from_shapes(stored(forms.VIT), like, "x.pt")

    assert (spec.network.vision.activation, spec.network.text.activation) == ("gelu", "gelu")
    assert spec.preprocess == PreprocessConfig(32, interpolation="bilinear", resize_mode="squash")


@pytest.mark.parametrize(
    "name",
    [
        *("text.ln_final.weight", "text.positional_embedding", "text.token_embedding.weight"),
        *("text.text_projection", "visual.class_embedding", "visual.conv1.weight"),
        "visual.transformer.resblocks.0.mlp.c_fc.weight",
    ],
)
def test_missing_tensor_that_tells_the_architecture_is_named(name: str) -> None:
    tensors = stored(forms.VIT)
    del tensors[name]

    with pytest.raises(
        IncompatibleWeights, match=rf"x\.pt: tensor '{name}' is missing or has an unexpected shape"
    ):
        openai.from_shapes(tensors, LIKE, "x.pt")


def test_width_that_heads_of_64_do_not_divide_is_rejected() -> None:
    tensors = stored(forms.VIT)
    tensors["text.ln_final.weight"] = StoredTensor((torch.ones(72),))

    with pytest.raises(IncompatibleWeights, match="expected a tower width divisible by 64, got 72"):
        openai.from_shapes(tensors, LIKE, "x.pt")


def test_vocabulary_of_another_tokenizer_is_rejected() -> None:
    tensors = stored(forms.VIT)
    tensors["text.token_embedding.weight"] = StoredTensor((torch.ones(32000, 64),))

    with pytest.raises(IncompatibleWeights, match="CLIP's vocabulary of 49408 ids, got 32000"):
        openai.from_shapes(tensors, LIKE, "x.pt")


def test_extra_tensors_are_not_weights(vit: Tensors, tmp_path: Path) -> None:
    checkpoint = reader.read(forms.openai_archive(forms.VIT, vit, tmp_path))

    assert checkpoint.layout == "openai"
    assert not set(openai.EXTRAS) & checkpoint.weights.stored.keys()
