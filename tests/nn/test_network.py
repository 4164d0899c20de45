"""The dual encoder: both towers made from the table, with OpenAI's parameter names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from zeroshot.nn.conse import ConSETower
from zeroshot.nn.convnext import ConvNeXt
from zeroshot.nn.fastvit import FastViT
from zeroshot.nn.network import TOWERS, Network
from zeroshot.nn.resnet import ModifiedResNet
from zeroshot.nn.text_transformer import TextTransformer
from zeroshot.nn.vision_transformer import VisionTransformer
from zeroshot.spec import (
    ConSEConfig,
    ConvNeXtConfig,
    FastViTConfig,
    NetworkConfig,
    ResNetConfig,
    TextConfig,
    ViTConfig,
)

TEXT = TextConfig(12, 600, 16, 2, 2, 32, "quick_gelu")
IMAGE_TOWERS: dict[str, tuple[Any, type]] = {
    "vit": (ViTConfig(24, 8, 16, 2, 2, 32, "gelu"), VisionTransformer),
    "resnet": (ResNetConfig(32, 8, (1, 1, 1, 1), 4), ModifiedResNet),
    "convnext": (ConvNeXtConfig(32, 8, (1, 1, 1, 1)), ConvNeXt),
    "fastvit": (FastViTConfig(32, 8, (1, 1, 1, 1), 3, True, False), FastViT),
    "concept": (ConSEConfig(32, 0, 9, 1.0, 3), ConSETower),
}


@pytest.mark.parametrize("kind", IMAGE_TOWERS)
def test_image_tower_is_made_from_the_type_of_its_config(kind: str) -> None:
    config, tower = IMAGE_TOWERS[kind]

    network = Network(NetworkConfig(10, config, TEXT))

    assert type(config).kind == kind
    assert isinstance(network.visual, tower)
    assert isinstance(network.text, TextTransformer)
    assert TOWERS[type(config)] is tower


@pytest.mark.parametrize("kind", IMAGE_TOWERS)
@pytest.mark.parametrize("embed_dim", [1, 10, 33])
def test_both_towers_map_to_the_shared_width(kind: str, embed_dim: int) -> None:
    config, _ = IMAGE_TOWERS[kind]
    network = Network(NetworkConfig(embed_dim, config, TEXT)).eval()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    size = config.image_size

    with torch.no_grad():
        assert network.visual(torch.zeros(1, 3, size, size)).shape == (1, embed_dim)
        assert network.text(torch.tensor([[3, 599]])).shape == (1, embed_dim)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_parameters_have_openais_names_with_text_before_the_text_tower(kind: str) -> None:
    config, _ = IMAGE_TOWERS[kind]
    names = Network(NetworkConfig(10, config, TEXT)).state_dict().keys()

    openai = {name.removeprefix("text.") for name in names if not name.startswith("visual.")}

    assert {
        *("logit_scale", "positional_embedding", "text_projection", "token_embedding.weight"),
        *("ln_final.weight", "transformer.resblocks.1.attn.in_proj_weight"),
        "transformer.resblocks.0.mlp.c_fc.bias",
    } <= openai
    assert "visual.conv1.weight" in names
    assert all(n.startswith(("visual.", "text.")) for n in names if n != "logit_scale")


def test_logit_scale_is_a_scalar() -> None:
    network = Network(NetworkConfig(10, IMAGE_TOWERS["vit"][0], TEXT))

    assert network.logit_scale.shape == ()


def test_config_without_a_row_is_an_error() -> None:
    class Unknown(ViTConfig):
        pass

    config = NetworkConfig(10, Unknown(24, 8, 16, 2, 2, 32, "gelu"), TEXT)

    with pytest.raises(KeyError):
        Network(config)


def test_activation_is_chosen_for_each_tower() -> None:
    vision = replace(IMAGE_TOWERS["vit"][0], activation="gelu_tanh")
    network = Network(NetworkConfig(10, vision, TEXT))

    found = [
        tower.transformer.resblocks[0].mlp.activation for tower in (network.visual, network.text)
    ]

    assert [activation.__name__ for activation in found] == ["gelu_tanh", "quick_gelu"]
