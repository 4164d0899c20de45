"""Linear maps with packed weights, and without them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from zeroshot.engine.cpu import linear


def test_operators_that_compute_wrongly_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __getattr__(self, name: str) -> object:
            return lambda x, *rest: torch.zeros_like(x)

    monkeypatch.setattr(torch.ops, "mkldnn", Wrong())

    assert not linear.can_pack.__wrapped__(torch.float32)


def test_operators_that_are_missing_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())

    assert not linear.can_pack.__wrapped__(torch.float32)


# ---- values


@pytest.fixture(params=[False, True], ids=["plain", "packed"])
def packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param and not linear.can_pack(torch.float32):
        pytest.skip("requires torch's packed operators")
    monkeypatch.setattr(linear, "can_pack", lambda dtype: request.param)
    return bool(request.param)


def random_tensors(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("fused", linear.POST_OPERATIONS)
@pytest.mark.parametrize("rows", [1, 3, 401])
def test_linear_map_with_activation_matches_torch(
    packed: bool, fused: linear.Fused, rows: int
) -> None:
    x, weight, bias = random_tensors((rows, 24), (10, 24), (10,))
    layer = linear.Linear(weight, bias, torch.float32, fused)

    expected = linear.activate(F.linear(x, weight, bias), fused)

    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_activations_match_torch() -> None:
    x = torch.linspace(-4, 4, 101)

    assert torch.equal(linear.activate(x, "none"), x)
    assert torch.equal(linear.activate(x, "relu"), x.clamp(min=0))
    assert torch.allclose(linear.activate(x, "silu"), x * torch.sigmoid(x))
    exact = x * (1 + torch.erf(x / 2**0.5)) / 2
    assert torch.allclose(linear.activate(x, "gelu"), exact, atol=1e-6)
    cube = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    expected = x * (1 + torch.tanh(cube)) / 2
    assert torch.allclose(linear.activate(x, "gelu_tanh"), expected, atol=1e-6)


def test_residual_is_added(packed: bool) -> None:
    x, weight, bias, residual = random_tensors((2, 5, 24), (10, 24), (10,), (2, 5, 10))
    layer = linear.Linear(weight, bias, torch.float32)
    before = residual.clone()

    found = layer.add_to(residual, x)

    assert torch.allclose(found, residual + F.linear(x, weight, bias), atol=1e-5)
    assert torch.equal(residual, before)


def test_map_without_bias(packed: bool) -> None:
    x, weight = random_tensors((7, 24), (10, 24))

    assert torch.allclose(linear.Linear(weight, None, torch.float32)(x), x @ weight.T, atol=1e-5)


def test_scale_multiplies_the_weight_and_not_the_bias(packed: bool) -> None:
    x, weight, bias = random_tensors((7, 24), (10, 24), (10,))
    layer = linear.Linear(weight, bias, torch.float32, scale=3.0)

    assert torch.allclose(layer(x), F.linear(x, 3 * weight, bias), atol=1e-4)


@pytest.mark.parametrize("shared", [False, True])
def test_layer_keeps_its_values_when_the_source_and_the_scratch_change(
    packed: bool, shared: bool
) -> None:
    x, weight, bias = random_tensors((7, 24), (10, 24), (10,))
    expected = F.linear(x, 2 * weight, bias)
    scratch = linear.Scratch() if shared else None
    layer = linear.Linear(weight, bias, torch.float32, scale=2.0, scratch=scratch)
    other = linear.Linear(torch.ones(10, 24), None, torch.float32, scale=5.0, scratch=scratch)

    weight.zero_()
    bias.zero_()

    assert torch.allclose(layer(x), expected, atol=1e-4)
    assert torch.allclose(other(x), 5 * x.sum(dim=1, keepdim=True).expand(7, 10), atol=1e-3)


@pytest.mark.parametrize("rows", [1, 5, 3000])
def test_scratch_rounds_after_scaling(rows: int) -> None:
    (weight,) = random_tensors((rows, 130))

    found = linear.Scratch().round(weight, torch.bfloat16, 1.7)

    assert torch.equal(found, (weight * 1.7).bfloat16())


def test_scratch_memory_is_reused_for_smaller_weights() -> None:
    scratch = linear.Scratch()
    first = scratch.round(torch.ones(8, 8), torch.bfloat16, 1.0)
    second = scratch.round(torch.zeros(4, 8), torch.bfloat16, 1.0)

    assert second.data_ptr() == first.data_ptr()


def test_other_precisions_are_not_packed() -> None:
    assert not linear.can_pack(torch.float16)
    assert not linear.can_pack(torch.float64)
