"""Sums of convolutions, batch norms and layer scales become one weight and one bias."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.checkpoint import families_fastvit as families
from zeroshot.checkpoint import folding
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights


def drawn(module: nn.Module) -> nn.Module:
    random = torch.Generator().manual_seed(4)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(families.draw(name, tensor, random))
    return module.eval().requires_grad_(False)


def feature_map(channels: int) -> Tensor:
    return torch.randn(2, channels, 9, 9, generator=torch.Generator().manual_seed(9))


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize(
    ("block", "stride", "groups"),
    [
        (families.Branches(6, 6, 3, groups=6, scale=True), 1, 6),
        (families.Branches(6, 6, 3, 2, groups=6, scale=True), 2, 6),
        (families.Branches(6, 12, 3, groups=6, scale=True), 1, 6),
        (families.Branches(3, 8, 3, 2, groups=1, scale=False), 2, 1),
        (families.Branches(6, 6, 1, groups=1, scale=False), 1, 1),
    ],
    ids=["depthwise", "stride", "two outputs", "no scale", "one pixel"],
)
def test_branches_become_one_convolution(block: nn.Module, stride: int, groups: int) -> None:
    block, side = drawn(block), block.conv_kxk[0].conv.kernel_size[0]
    x = feature_map(block.conv_kxk[0].conv.in_channels)

    weight, bias = folding.branches(state_of(block))

    found = F.conv2d(x, weight.float(), bias.float(), stride, side // 2, groups=groups)
    assert torch.allclose(found, block(x), atol=1e-5)


def test_smaller_kernel_is_added_at_the_center_of_the_larger() -> None:
    block = drawn(families.LargeKernel(4, 8, squeeze=False))
    x = feature_map(4)

    weight, bias = folding.branches(state_of(block))

    assert weight.shape == (8, 1, 7, 7)
    found = F.gelu(F.conv2d(x, weight.float(), bias.float(), 2, 3, groups=4))
    assert torch.allclose(found, block(x), atol=1e-5)


def test_token_mixer_becomes_one_convolution_with_its_residual() -> None:
    mixer, x = drawn(families.Mixer(6)), feature_map(6)

    weight, bias = folding.token_mixer(state_of(mixer))

    found = F.conv2d(x, weight.float(), bias.float(), padding=1, groups=6)
    assert torch.allclose(found, mixer(x), atol=1e-5)


def test_residual_of_a_convolution_is_the_center_of_its_kernel() -> None:
    positions, x = drawn(families.Positions(6)), feature_map(6)

    weight, bias = folding.with_residual(state_of(positions.pos_enc))

    found = F.conv2d(x, weight.float(), bias.float(), padding=3, groups=6)
    assert torch.allclose(found, positions(x), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 1, 1)], ids=str)
def test_layer_scale_multiplies_rows_and_bias(shape: tuple[int, ...]) -> None:
    gamma, layer = torch.randn(5, 1, 1), drawn(nn.Linear(3, 5))
    tensors = {"gamma": gamma, "weight": layer.weight.view(shape), "bias": layer.bias}
    x = torch.randn(4, 3)

    weight, bias = folding.scaled(tensors)

    assert weight.shape == shape
    found = F.linear(x, weight.flatten(1), bias)
    assert torch.allclose(found, layer(x) * gamma.flatten(), atol=1e-5)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(6), nn.LayerNorm(6)], ids=["batch", "layer"])
def test_scale_and_shift_of_a_norm_are_folded_into_the_layer_after_it(norm: nn.Module) -> None:
    norm, layer, x = drawn(norm), drawn(nn.Linear(6, 18, bias=False)), torch.randn(7, 6)
    tensors = {"qkv.weight": layer.weight} | {f"norm.{n}": t for n, t in state_of(norm).items()}
    rest: Callable[[Tensor], Tensor] = (
        (lambda y: F.layer_norm(y, [6])) if isinstance(norm, nn.LayerNorm) else (lambda y: y)
    )

    weight, bias = folding.normalized(tensors)

    assert torch.allclose(
        F.linear(rest(x), weight.float(), bias.float()), layer(norm(x)), atol=1e-5
    )


def test_values_are_computed_when_they_are_read() -> None:
    block = drawn(families.Branches(6, 6, 3, groups=6, scale=True))
    state = {name: tensor.clone() for name, tensor in state_of(block).items()}
    weight, bias = folding.plan(folding.branches, state, "block", "file")
    stored = StoredTensor(tuple(state.values()), fold=weight)
    before = stored.read()

    state["identity.weight"].mul_(2)

    assert (weight.shape, bias.shape, stored.shape) == ((6, 1, 3, 3), (6,), (6, 1, 3, 3))
    assert before.dtype == torch.float32
    assert stored.is_computed
    assert not torch.equal(stored.read(), before)
    copied = pickle.loads(pickle.dumps(stored.compact()))
    assert torch.equal(copied.read(), stored.read())
    assert torch.equal(copied.sample(5, 9), stored.read().flatten()[5:9])


def test_half_precision_is_folded_without_further_rounding() -> None:
    block = drawn(families.Branches(6, 6, 3, groups=6, scale=True))
    half = {name: tensor.half() for name, tensor in state_of(block).items()}
    exact, _ = folding.branches({name: tensor.double() for name, tensor in half.items()})

    (weight, _) = folding.branches(half)

    assert torch.equal(weight, exact)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"identity.running_var": None}, "'identity.running_var' is missing"),
        ({"conv_scale.bn.bias": None}, "'conv_scale.bn.bias' is missing"),
        ({"conv_scale.conv.weight": torch.ones(4, 1, 1, 1)}, "do not fit"),
        ({"conv_scale.conv.weight": torch.ones(6)}, "do not fit"),
        ({"identity.weight": torch.ones(5)}, "do not fit"),
        ({"identity.weight": torch.ones(2, 3, 4)}, "do not fit"),
        ({"conv_kxk.0.conv.weight": None, "conv_scale.conv.weight": None}, "do not fit"),
    ],
)
def test_branches_that_cannot_be_folded_are_rejected(
    change: dict[str, Tensor | None], what: str
) -> None:
    state = state_of(drawn(families.Branches(6, 6, 3, groups=6, scale=True))) | change
    given = {name: tensor for name, tensor in state.items() if tensor is not None}

    with pytest.raises(IncompatibleWeights, match=what) as caught:
        folding.plan(folding.branches, given, "visual.block", "x.safetensors")

    assert str(caught.value).startswith("x.safetensors: visual.block: ")
    assert len(str(caught.value)) < 600
