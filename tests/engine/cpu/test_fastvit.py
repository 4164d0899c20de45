"""FastViT on a CPU: channels last, with fused activations and residuals."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.checkpoint.families_fastvit import LARGE, SMALL, TEXT, folded
from tests.engine.support import Borrowed, pixels, worst
from zeroshot.engine.cpu.fastvit import FusedFastViT
from zeroshot.spec import FastViTConfig, NetworkConfig

SHAPES = {"four stages": SMALL, "five stages": LARGE}


def config_of(config: FastViTConfig) -> NetworkConfig:
    return NetworkConfig(24, config, TEXT)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.usefixtures("operators")
def test_tower_matches_the_plain_tower(config: FastViTConfig, count: int) -> None:
    plain = folded(config)
    fast = FusedFastViT(config, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(config_of(config), count)

    found, expected = fast(batch), plain(batch)

    assert found.shape == (count, 24)
    assert worst(F.normalize(found, dim=1), F.normalize(expected, dim=1)) < 1e-5
    assert count == 1 or float((found - found.roll(1, 0)).norm(dim=1).min()) > 1e-2


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_features_have_the_order_of_the_plain_tower(config: FastViTConfig) -> None:
    plain = folded(config)
    fast = FusedFastViT(config, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(config_of(config), 3)

    found, expected = fast.trunk(batch), plain.trunk(batch)

    assert worst(F.normalize(found, dim=1), F.normalize(expected, dim=1)) < 1e-5


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_bfloat16_is_close_to_float32(config: FastViTConfig) -> None:
    plain = folded(config)
    fast = FusedFastViT(config, Borrowed(plain.state_dict()), torch.bfloat16)
    batch = pixels(config_of(config), 4)

    found, expected = fast(batch), plain(batch)

    assert found.dtype == torch.bfloat16
    assert worst(F.normalize(found.float(), dim=1), F.normalize(expected, dim=1)) < 5e-2


def test_tower_owns_its_values() -> None:
    plain = folded(SMALL)
    fast = FusedFastViT(SMALL, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(config_of(SMALL), 2)
    expected = fast(batch)

    for tensor in plain.state_dict().values():
        tensor.zero_()

    assert torch.equal(fast(batch), expected)


def test_pixels_are_not_changed() -> None:
    plain = folded(SMALL)
    fast = FusedFastViT(SMALL, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(config_of(SMALL), 2)
    before = batch.clone()

    fast(batch)

    assert torch.equal(batch, before)
