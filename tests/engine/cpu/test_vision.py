"""The CPU vision transformer: patches without a convolution, and the last block for one token."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.engine.support import EXACT, Borrowed, network_of, pixels, worst
from zeroshot.engine.cpu.vision import FastVisionTransformer
from zeroshot.spec import NetworkConfig, TextConfig, ViTConfig

TEXT = TextConfig(8, 600, 16, 1, 1, 32, "gelu")
SHAPES = {
    "patch 8": ViTConfig(40, 8, 48, 2, 3, 96, "gelu"),
    "patch 14 at 28": ViTConfig(28, 14, 48, 2, 3, 96, "quick_gelu"),
    "one patch": ViTConfig(8, 8, 48, 2, 3, 96, "gelu"),
    "size that patches do not fill": ViTConfig(30, 7, 48, 2, 3, 96, "gelu"),
    "one pixel a patch": ViTConfig(5, 1, 48, 1, 3, 96, "gelu"),
    "large epsilon": ViTConfig(16, 8, 48, 2, 3, 96, "gelu", 0.1),
}


def towers(config: ViTConfig) -> tuple[torch.nn.Module, FastVisionTransformer]:
    plain = network_of(NetworkConfig(20, config, TEXT)).visual
    return plain, FastVisionTransformer(config, Borrowed(plain.state_dict()), torch.float32)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("count", [1, 5])
def test_tower_matches_the_plain_tower(config: ViTConfig, count: int) -> None:
    plain, fast = towers(config)
    batch = pixels(NetworkConfig(20, config, TEXT), count)

    found, expected = fast(batch), plain(batch)

    assert found.shape == (count, 20)
    assert worst(F.normalize(found, dim=1), F.normalize(expected, dim=1)) < EXACT


def test_patches_are_embedded_in_the_order_of_the_convolution() -> None:
    config = SHAPES["patch 8"]
    plain, fast = towers(config)
    batch = pixels(NetworkConfig(20, config, TEXT), 3)
    patches = plain.conv1(batch).flatten(2).transpose(1, 2)
    first = plain.class_embedding.expand(3, 1, -1)
    expected = torch.cat([first, patches], dim=1) + plain.positional_embedding

    found = fast.embed(batch)

    assert found.shape == (3, 1 + 25, 48)
    assert torch.allclose(found, expected, atol=1e-5)


def test_pixels_are_not_changed() -> None:
    config = SHAPES["patch 8"]
    batch = pixels(NetworkConfig(20, config, TEXT), 3)
    before = batch.clone()

    towers(config)[1](batch)

    assert torch.equal(batch, before)


def test_tower_owns_its_values() -> None:
    config = SHAPES["patch 8"]
    network_config = NetworkConfig(20, config, TEXT)
    plain = network_of(network_config).visual
    fast = FastVisionTransformer(config, Borrowed(plain.state_dict()), torch.bfloat16)
    batch = pixels(network_config, 3)
    expected = fast(batch)

    for parameter in plain.parameters():
        parameter.zero_()

    assert torch.equal(fast(batch), expected)


def test_result_has_the_precision_of_the_tower() -> None:
    config = SHAPES["patch 8"]
    plain = network_of(NetworkConfig(20, config, TEXT)).visual
    fast = FastVisionTransformer(config, Borrowed(plain.state_dict()), torch.bfloat16)

    assert fast(pixels(NetworkConfig(20, config, TEXT), 2)).dtype == torch.bfloat16
