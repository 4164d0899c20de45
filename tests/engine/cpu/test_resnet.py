"""The CPU ResNet: batch norms, ReLUs and skips folded into the convolutions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.engine.support import EXACT, Borrowed, network_of, pixels, worst
from zeroshot.engine.cpu.resnet import FastAttentionPool, FastBottleneck, FastResNet
from zeroshot.spec import NetworkConfig, ResNetConfig, TextConfig

TEXT = TextConfig(8, 600, 16, 1, 1, 32, "gelu")
SHAPES = {
    "one block a stage": ResNetConfig(32, 8, (1, 1, 1, 1), 4),
    "several blocks": ResNetConfig(64, 16, (2, 1, 3, 2), 8),
    "96 pixels": ResNetConfig(96, 8, (1, 2, 1, 1), 2),
    "one head": ResNetConfig(64, 8, (1, 1, 2, 1), 1),
}


def network_config(config: ResNetConfig) -> NetworkConfig:
    return NetworkConfig(24, config, TEXT)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("count", [1, 5])
def test_tower_matches_the_plain_tower(config: ResNetConfig, count: int) -> None:
    plain = network_of(network_config(config)).visual
    fast = FastResNet(config, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(network_config(config), count)

    found, expected = fast(batch), plain(batch)

    assert found.shape == (count, 24)
    assert worst(F.normalize(found, dim=1), F.normalize(expected, dim=1)) < EXACT


@pytest.mark.parametrize(
    ("name", "stride", "widens"),
    [("layer1.0", 1, True), ("layer2.0", 2, True), ("layer2.1", 1, False)],
)
@pytest.mark.parametrize("size", [(8, 8), (6, 4), (2, 2)], ids=str)
def test_bottleneck_matches_the_plain_block(
    name: str, stride: int, widens: bool, size: tuple[int, int]
) -> None:
    plain = network_of(network_config(ResNetConfig(64, 8, (1, 2, 1, 1), 4))).visual
    block = plain.get_submodule(name)
    values = Borrowed(plain.state_dict()).of(name)
    fast = FastBottleneck(values, torch.float32, stride=stride, widens=widens)
    x = torch.randn(2, block.conv1.in_channels, *size, generator=torch.Generator().manual_seed(6))
    x = x.relu().contiguous(memory_format=torch.channels_last)
    before = x.clone()

    found = fast(x)

    assert torch.allclose(found, block(x), atol=1e-4)
    assert torch.equal(x, before)


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_pool_matches_the_plain_one(heads: int) -> None:
    plain = network_of(network_config(ResNetConfig(64, 8, (1, 1, 1, 1), heads))).visual.attnpool
    fast = FastAttentionPool(Borrowed(plain.state_dict()), heads, torch.float32)
    x = torch.randn(3, 256, 2, 2, generator=torch.Generator().manual_seed(7))

    found = fast(x.contiguous(memory_format=torch.channels_last))

    assert found.shape == (3, 256)
    assert torch.allclose(found, plain(x), atol=1e-4)


def test_tower_owns_its_values() -> None:
    config = SHAPES["one block a stage"]
    plain = network_of(network_config(config)).visual
    fast = FastResNet(config, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(network_config(config), 3)
    expected = fast(batch)

    for tensor in plain.state_dict().values():
        tensor.zero_()

    assert torch.equal(fast(batch), expected)
