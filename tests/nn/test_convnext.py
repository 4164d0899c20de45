"""ConvNeXt: sizes of the published towers, and the parts of a block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.checkpoint.families_convnext import DEEP, SHALLOW
from tests.nn.test_layers import filled
from zeroshot.checkpoint.layouts.timm_convnext import TOWERS
from zeroshot.nn.convnext import ConvNeXt, ConvNeXtBlock
from zeroshot.spec import ConvNeXtConfig

# Size of the shared space -> parameters of the towers of open_clip with timm 1.0.31.
PARAMETERS = {"convnext_base": (640, 88_221_824), "convnext_xxlarge": (1024, 846_543_744)}


@pytest.mark.parametrize("config", [SHALLOW, DEEP], ids=["linear", "deep"])
@pytest.mark.parametrize("size", [32, 96])
def test_output_is_one_row_per_image(config: ConvNeXtConfig, size: int) -> None:
    network = filled(ConvNeXt(replace(config, image_size=size), 10))
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))

    features = network.trunk(pixels)

    assert features.shape == (2, config.features)
    assert network(pixels).shape == (2, 10)
    assert torch.equal(network.project(features), network(pixels))


@pytest.mark.parametrize("name", PARAMETERS)
def test_tower_has_the_number_of_parameters_of_its_peer(name: str) -> None:
    embed_dim, published = PARAMETERS[name]
    with torch.device("meta"):
        network = ConvNeXt(TOWERS[name], embed_dim)

    assert sum(parameter.numel() for parameter in network.parameters()) == published


def test_hidden_layer_of_the_projection_is_twice_as_wide_as_the_shared_space() -> None:
    network = ConvNeXt(DEEP, 10)

    assert network.hidden.weight.shape == (20, 64)
    assert network.hidden.bias.shape == (20,)
    assert network.proj.weight.shape == (10, 20)
    assert network.proj.bias is None


def test_block_adds_a_scaled_mlp_of_the_normed_convolution() -> None:
    block = filled(ConvNeXtBlock(4, 1e-6))
    x = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1))
    normed = block.ln(block.conv(x).movedim(1, -1))

    expected = x + (block.mlp(normed) * block.gamma).movedim(-1, 1)

    assert torch.allclose(block(x), expected, atol=1e-6)
    block.gamma.zero_()
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"layers": (1, 1, 1)}, "layers"),
        ({"layers": (1, 1, 0, 1)}, "layers"),
        ({"width": 0}, "width"),
        ({"image_size": 48}, "image_size"),
        ({"eps": 0.0}, "eps"),
        ({"deep_projection": 1}, "deep_projection"),
    ],
)
def test_invalid_field_is_reported(change: dict[str, object], field: str) -> None:
    assert {name for name, _, _ in replace(SHALLOW, **change).problems()} == {field}
