"""FastViT: stages, sizes and parameters of the published towers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.checkpoint.families_fastvit import LARGE, SMALL
from tests.nn.test_layers import filled
from zeroshot.checkpoint.layouts.timm_fastvit import TOWERS
from zeroshot.nn.fastvit import AttentionBlock, ConvolutionBlock, FastViT
from zeroshot.spec import FastViTConfig

# Of the towers of timm with 512 (S0 to S2) or 768 outputs, after `reparameterize_model` and without
# the batch norms and layer scales that it leaves.
MILLIONS = {"fastvit_mci0": 11.3, "fastvit_mci2": 35.6, "fastvit_mci4": 321.6}


def pixels(size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize("config", [SMALL, LARGE], ids=["four stages", "five stages"])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_output_is_one_row_per_image(config: FastViTConfig, size: int) -> None:
    network = filled(FastViT(replace(config, image_size=size), 10))

    found = network(pixels(size))

    assert found.shape == (2, 10)
    assert torch.isfinite(found).all()
    assert float((found[0] - found[1]).norm()) > 0


def test_projection_follows_the_mean_of_the_last_feature_map() -> None:
    network = filled(FastViT(SMALL, 10))
    features = network.trunk(pixels(64))

    assert features.shape == (2, 16 * SMALL.width)
    assert torch.equal(network.project(features), network(pixels(64)))


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_tower_has_the_number_of_parameters_of_its_peer(name: str, millions: float) -> None:
    config = TOWERS[name]
    with torch.device("meta"):
        network = FastViT(config, 768 if config.layer_norm else 512)

    count = sum(parameter.numel() for parameter in network.parameters())

    assert count / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("config", [SMALL, LARGE], ids=["four stages", "five stages"])
def test_stages_from_the_fourth_on_have_attention_and_positions(config: FastViTConfig) -> None:
    network = FastViT(config, 10)

    for n, stage in enumerate(network.stages):
        kind = AttentionBlock if n >= 3 else ConvolutionBlock
        assert [type(block) for block in stage.blocks] == [kind] * config.layers[n]
        assert hasattr(stage, "positions") == (n >= 3)
        assert hasattr(stage, "down") == (n > 0)


def test_channels_are_weighed_where_the_third_and_fourth_stage_begin() -> None:
    small, large = FastViT(SMALL, 10), FastViT(LARGE, 10)

    squeezed = [not isinstance(stage.down.squeeze, nn.Identity) for stage in small.stages[1:]]

    assert squeezed == [False, True, True]
    assert all(isinstance(stage.down.squeeze, nn.Identity) for stage in large.stages[1:])


def test_batch_norms_and_layer_scales_are_gone() -> None:
    names = FastViT(SMALL, 10).state_dict().keys()

    assert not [name for name in names if "running" in name or "gamma" in name or "norm" in name]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"layers": (1, 1, 1)}, "layers"),
        ({"layers": (1, 1, 0, 1)}, "layers"),
        ({"layers": [1, 1, 1, 1]}, "layers"),
        ({"width": 0}, "width"),
        ({"width": 18}, "width"),
        ({"image_size": 48}, "image_size"),
        ({"mlp_ratio": 0}, "mlp_ratio"),
        ({"mlp_ratio": 100}, "mlp_ratio"),
        ({"squeeze": 1}, "squeeze"),
        ({"eps": 0.0}, "eps"),
        ({"head_width": 0}, "head_width"),
    ],
)
def test_invalid_field_is_reported(change: dict[str, object], field: str) -> None:
    found = {name for name, _, _ in replace(SMALL, **change).problems()}

    assert found == {field}
