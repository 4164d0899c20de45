"""CPU blocks against the plain block: every activation, and the last block for few places only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.engine.support import Borrowed
from zeroshot.engine.cpu import linear
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.blocks import FUSED, Norm, build_blocks, separate_pairs
from zeroshot.nn.layers import ACTIVATIONS, QUICK_GELU, Transformer
from zeroshot.spec import Activation, TextConfig

WIDTH, HEADS, LAYERS = 24, 3, 3


def plain_blocks(activation: Activation, eps: float = 1e-5) -> Transformer:
    generator = torch.Generator().manual_seed(4)
    blocks = Transformer(WIDTH, LAYERS, HEADS, 4 * WIDTH, activation, eps)
    with torch.no_grad():
        for name, parameter in blocks.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if "ln_" in name:
                values = 0.2 * values + name.endswith("weight")
            elif parameter.ndim == 2:
                values /= parameter.shape[1] ** 0.5
            parameter.copy_(values)
    return blocks.requires_grad_(False).eval()


def values_of(blocks: Transformer) -> Borrowed:
    return Borrowed(blocks.state_dict()).of("resblocks")


def config(activation: Activation, eps: float = 1e-5) -> TextConfig:
    return TextConfig(16, 600, WIDTH, LAYERS, HEADS, 4 * WIDTH, activation, eps)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 5)], ids=str)
def test_blocks_match_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch, packed: bool, activation: Activation, shape: tuple[int, int]
) -> None:
    if packed and not linear.can_pack(torch.float32):
        pytest.skip("requires torch's packed operators")
    monkeypatch.setattr(linear, "can_pack", lambda dtype: packed)
    plain = plain_blocks(activation)
    x = torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(5))
    expected = plain(x)

    inner, last = build_blocks(config(activation), values_of(plain), torch.float32)

    assert len(inner) == LAYERS - 1
    for block in inner:
        q, k, v = block.split_heads(block.qkv(block.ln_1(x)), 3)
        x = block.finish(x, attend(q, k, v))
    normed = last.ln_1(x)
    q = last.split_heads(last.query(normed[:, :1]), 1)[0]
    k, v = last.split_heads(last.keys(normed), 2)
    found = last.finish(x[:, :1].contiguous(), attend(q, k, v))
    assert torch.allclose(found, expected[:, :1], atol=1e-5)


def test_norm_matches_layer_norm_and_uses_its_epsilon() -> None:
    norm = nn.LayerNorm(WIDTH, eps=0.5).requires_grad_(False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, WIDTH)
    expected = norm(x)
    values = Borrowed(norm.state_dict())

    found = Norm(values, 0.5, torch.float32)
    norm.weight.zero_()

    assert torch.allclose(found(x), expected, atol=1e-6)
    assert not torch.allclose(Norm(values, 1e-5, torch.float32)(x), expected, atol=1e-2)


def test_quick_gelu_is_silu_with_a_folded_factor() -> None:
    x = torch.linspace(-5, 5, 101)

    folded = linear.activate(QUICK_GELU * x, FUSED["quick_gelu"]) / QUICK_GELU

    assert torch.allclose(folded, ACTIVATIONS["quick_gelu"](x), atol=1e-6)


def test_every_activation_has_a_fused_form() -> None:
    assert FUSED.keys() == ACTIVATIONS.keys()
    assert set(FUSED.values()) <= linear.POST_OPERATIONS.keys()


def test_one_layer_has_no_inner_block() -> None:
    plain = Transformer(WIDTH, 1, HEADS, 4 * WIDTH, "gelu", 1e-5).requires_grad_(False)
    for parameter in plain.parameters():
        parameter.zero_()

    inner, last = build_blocks(
        TextConfig(16, 600, WIDTH, 1, HEADS, 4 * WIDTH, "gelu"), values_of(plain), torch.float32
    )

    assert inner == []
    assert last.heads == HEADS


def test_separated_pairs_are_those_of_each_head() -> None:
    rows = torch.arange(24)  # queries, keys and values of two heads with four channels

    found = separate_pairs(rows, 2)

    queries = [0, 2, 1, 3, 4, 6, 5, 7]
    assert found.tolist() == [*queries, *(8 + n for n in queries), *range(16, 24)]
    matrix = rows[:, None].expand(24, 3)
    assert torch.equal(separate_pairs(matrix, 2)[:, 1], found)
