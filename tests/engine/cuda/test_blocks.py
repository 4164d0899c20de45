"""Folded activations and the block of one position equal the plain modules."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from tests.engine.support import Borrowed
from zeroshot.engine.cuda.blocks import PooledBlock, fold_activations
from zeroshot.nn.layers import ACTIVATIONS, MLP, Block, Transformer
from zeroshot.nn.rotary import angles
from zeroshot.spec import Activation, BlockOptions, ViTConfig

EXACT = 1e-5


def randomize(module: torch.nn.Module, seed: int = 0) -> Borrowed:
    """Draw all values of a module, and return copies of them."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = torch.randn(parameter.shape, generator=random)
            parameter.copy_(drawn / max(1, parameter.shape[-1]) ** 0.5 + 0.1)
    module.requires_grad_(False)
    return Borrowed({name: tensor.clone() for name, tensor in module.state_dict().items()})


@pytest.mark.parametrize("activation", get_args(Activation))
def test_folded_mlp_equals_the_plain_one(activation: Activation, device: torch.device) -> None:
    mlp = MLP(16, 32, activation)
    values, x = randomize(mlp), torch.randn(5, 16)
    expected = mlp(x)

    fold_activations(mlp.to(device), values)

    assert (mlp(x.to(device)).cpu() - expected).abs().max() < EXACT
    assert mlp.activation is (F.silu if activation == "quick_gelu" else ACTIVATIONS[activation])


def test_folded_weights_are_rounded_once() -> None:
    mlp = MLP(16, 32, "quick_gelu")
    values = randomize(mlp)
    mlp.to(torch.float16)

    fold_activations(mlp, values)

    assert torch.equal(mlp.c_fc.weight, (values["c_fc.weight"] * 1.702).half())
    assert torch.equal(mlp.c_proj.weight, (values["c_proj.weight"] / 1.702).half())
    assert torch.equal(mlp.c_proj.bias, values["c_proj.bias"].half())


@pytest.mark.parametrize("options", [{"gated": True}, {"norm_eps": 1e-5}], ids=str)
def test_gate_or_norm_keeps_its_activation(options: dict[str, object]) -> None:
    mlp = MLP(16, 32, "quick_gelu", **options)  # type: ignore[arg-type]
    values, x = randomize(mlp), torch.randn(5, 16)
    expected = mlp(x)

    fold_activations(mlp, values)

    assert torch.equal(mlp(x), expected)


def test_every_mlp_of_a_tower_is_folded_with_its_own_values() -> None:
    tower = Transformer(16, 3, 2, 32, "quick_gelu", 1e-5)
    values, x = randomize(tower), torch.randn(2, 4, 16)
    expected = tower(x)

    fold_activations(tower, values)

    assert (tower(x) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert {block.mlp.activation for block in tower.resblocks} == {F.silu}


OPTIONS = [
    BlockOptions(),
    BlockOptions(block_norm="output"),
    BlockOptions(gated_mlp=True, inner_norm=True),
    BlockOptions(inner_norm=True, block_norm="output"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_first_position_equals_that_of_the_plain_block(
    options: BlockOptions, device: torch.device
) -> None:
    block = Block(16, 2, 32, "gelu", 1e-5, options)
    randomize(block)
    x = torch.randn(3, 5, 16)
    expected = block(x)[:, :1]

    found = PooledBlock(block.to(device))(x.to(device)).cpu()

    assert found.shape == (3, 1, 16)
    assert (found - expected).abs().max() < EXACT


def test_rotated_patches_and_masked_keys_are_those_of_the_plain_block() -> None:
    config = ViTConfig(16, 4, 16, 1, 2, 32, "gelu", rotary="xy", rotary_grid=4)
    block, x = Block(16, 2, 32, "gelu", 1e-5), torch.randn(3, 17, 16)
    randomize(block)
    turns = angles(config, x)
    mask = torch.rand(3, 1, 1, 17) < 0.8
    mask[..., 0] = True

    for options in ({"turns": turns}, {"mask": mask}, {"turns": turns, "mask": mask}):
        found = PooledBlock(block)(x, **options)

        assert (found - block(x, **options)[:, :1]).abs().max() < EXACT
        assert (found - block(x)[:, :1]).abs().max() > 1e-3  # the option has an effect


@pytest.mark.parametrize("causal", [True, False])
def test_chosen_positions_equal_those_of_the_plain_block(
    causal: bool, device: torch.device
) -> None:
    block, x = Block(16, 2, 32, "gelu", 1e-5), torch.randn(4, 6, 16)
    randomize(block)
    places = torch.tensor([0, 5, 2, 4])
    expected = block(x, causal=causal)[torch.arange(4), places][:, None]

    pooled = PooledBlock(block.to(device))
    found = pooled(x.to(device), places=places.to(device), causal=causal).cpu()

    assert (found - expected).abs().max() < EXACT
