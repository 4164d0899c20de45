"""Activations, attention and blocks against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zeroshot.nn.layers import ACTIVATIONS, MLP, Attention, Block, Transformer, quick_gelu
from zeroshot.spec import BlockOptions

LEAVES = ("weight", "bias")
# x / (1 + exp(-1.702 x)), computed by hand in double precision
QUICK_GELU = {
    -2.0: -0.0643414,
    -1.0: -0.1542042,
    -0.5: -0.1496116,
    0.0: 0.0,
    0.5: 0.3503884,
    1.0: 0.8457958,
    2.0: 1.9356586,
}


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Fill parameters with values of moderate size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            scale = parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 5.0
            parameter.copy_(values / scale + ("ln_" in name and name.endswith("weight")))
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize(("x", "expected"), QUICK_GELU.items())
def test_quick_gelu_has_the_values_computed_by_hand(x: float, expected: float) -> None:
    assert float(quick_gelu(torch.tensor(x))) == pytest.approx(expected, abs=3e-7)


@pytest.mark.parametrize("x", [-3.0, -0.7, 0.0, 0.3, 2.5])
def test_gelu_and_its_tanh_form_have_the_values_of_their_formulas(x: float) -> None:
    exact = x * (1 + math.erf(x / math.sqrt(2))) / 2
    near = x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2

    assert float(ACTIVATIONS["gelu"](torch.tensor(x))) == pytest.approx(exact, abs=1e-6)
    assert float(ACTIVATIONS["gelu_tanh"](torch.tensor(x))) == pytest.approx(near, abs=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "length"), [(1, 1), (2, 1), (2, 5), (4, 7)])
def test_attention_equals_torchs_own_module(heads: int, length: int, causal: bool) -> None:
    attention = filled(Attention(8, heads))
    reference = nn.MultiheadAttention(8, heads, batch_first=True).eval()
    reference.load_state_dict(attention.state_dict())
    x = torch.randn(3, length, 8, generator=torch.Generator().manual_seed(1))
    mask = nn.Transformer.generate_square_subsequent_mask(length) if causal else None

    found = attention(x, causal=causal)

    expected = reference(x, x, x, attn_mask=mask, need_weights=False)[0]
    assert torch.allclose(found, expected, atol=1e-6)


def test_attention_has_the_parameter_names_of_torchs_module() -> None:
    names = Attention(8, 2).state_dict().keys()

    assert names == nn.MultiheadAttention(8, 2).state_dict().keys()


def test_mlp_applies_the_activation_between_two_maps() -> None:
    mlp = filled(MLP(4, 6, "quick_gelu"))
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2))

    hidden = F.linear(x, mlp.c_fc.weight, mlp.c_fc.bias)
    expected = F.linear(quick_gelu(hidden), mlp.c_proj.weight, mlp.c_proj.bias)

    assert torch.allclose(mlp(x), expected, atol=1e-6)


def test_block_normalizes_before_each_part_and_adds_the_residual() -> None:
    block = filled(Block(8, 2, 16, "gelu", 1e-5))
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(3))

    middle = x + block.attn(block.ln_1(x))
    expected = middle + block.mlp(block.ln_2(middle))

    assert torch.equal(block(x), expected)


def test_causal_places_do_not_see_later_ones() -> None:
    transformer = filled(Transformer(8, 2, 2, 16, "gelu", 1e-5))
    x = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(4))
    changed = x.clone()
    changed[:, 4:] = torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(5))

    found, other = transformer(x, causal=True), transformer(changed, causal=True)

    assert torch.allclose(found[:, :4], other[:, :4], atol=1e-6)
    assert not torch.allclose(found[:, 4:], other[:, 4:], atol=1e-2)
    free, other = transformer(x), transformer(changed)
    assert not torch.allclose(free[:, :4], other[:, :4], atol=1e-3)


def test_epsilon_reaches_every_norm() -> None:
    transformer = Transformer(8, 3, 2, 16, "gelu", 1e-3)

    norms = [module for module in transformer.modules() if isinstance(module, nn.LayerNorm)]

    assert [norm.eps for norm in norms] == [1e-3] * 6


def test_gated_mlp_multiplies_the_value_by_the_activated_gate() -> None:
    mlp = filled(MLP(6, 10, "silu", gated=True, norm_eps=1e-6))
    assert isinstance(mlp, MLP)
    assert mlp.c_gate is not None
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(7))
    hidden = F.silu(mlp.c_gate(x)) * mlp.c_fc(x)
    hidden = F.layer_norm(hidden, [10], mlp.ln.weight, mlp.ln.bias, 1e-6)  # type: ignore[arg-type]

    assert torch.allclose(mlp(x), mlp.c_proj(hidden), atol=1e-6)


def test_norm_inside_attention_is_applied_before_the_output_map() -> None:
    attention = filled(Attention(8, 2, norm_eps=1e-6))
    x = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(8))
    plain = Attention(8, 2)
    plain.load_state_dict(attention.state_dict(), strict=False)
    plain.out_proj = nn.Linear(8, 8)
    plain.out_proj.weight.data, plain.out_proj.bias.data = torch.eye(8), torch.zeros(8)

    expected = attention.out_proj(attention.ln(plain(x)))  # type: ignore[operator]

    assert torch.allclose(attention(x), expected, atol=1e-6)


def test_norm_of_the_output_is_added_to_the_residual() -> None:
    block = filled(Block(8, 2, 12, "gelu", 1e-6, BlockOptions(block_norm="output")))
    assert isinstance(block, Block)
    x = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(9))
    middle = x + block.ln_1(block.attn(x))

    assert torch.allclose(block(x), middle + block.ln_2(block.mlp(middle)), atol=1e-6)


def test_options_add_no_parameters_to_clips_blocks() -> None:
    names = set(Block(8, 2, 12, "gelu", 1e-5).state_dict())

    assert len(names) == 12
    added = set(Block(8, 2, 12, "silu", 1e-5, BlockOptions(True, True)).state_dict()) - names
    assert added == {
        f"{part}.{leaf}" for part in ("attn.ln", "mlp.ln", "mlp.c_gate") for leaf in LEAVES
    }
