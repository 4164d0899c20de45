"""Convolutions with the batch norm folded in, then ReLU or a residual."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.engine.support import Borrowed
from zeroshot.engine.cpu import convolution


def modules(channels: int, out: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution and its batch norm, with values that matter."""
    generator = torch.Generator().manual_seed(2)
    pair = nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
    ).eval()
    with torch.no_grad():
        for name, tensor in pair.state_dict().items():
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
    return pair.requires_grad_(False)


def image(channels: int, height: int, width: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, channels, height, width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)], ids=str)
def test_batch_norm_is_folded_into_the_convolution(
    relu: bool, kernel: int, stride: int, size: tuple[int, int]
) -> None:
    pair = modules(6, 8, kernel, stride)
    values = Borrowed(pair.state_dict())
    x = image(6, *size)
    expected = F.relu(pair(x)) if relu else pair(x)

    folded = convolution.fold_batch_norm(
        values.of("0"),
        values.of("1"),
        torch.float32,
        stride=stride,
        padding=kernel // 2,
        relu=relu,
    )

    assert torch.allclose(folded(x), expected, atol=1e-4)


def test_skip_is_added_before_the_relu() -> None:
    pair = modules(6, 8, 3, 1)
    values = Borrowed(pair.state_dict())
    x, skip = image(6, 7, 5), image(8, 7, 5)
    folded = convolution.fold_batch_norm(values.of("0"), values.of("1"), torch.float32, padding=1)
    before = skip.clone()

    found = folded.add_to(skip, x)

    assert torch.allclose(found, F.relu(skip + pair(x)), atol=1e-4)
    assert torch.equal(skip, before)


def test_folded_convolution_keeps_its_values_when_the_source_changes() -> None:
    pair = modules(6, 8, 3, 1)
    values, x = Borrowed(pair.state_dict()), image(6, 7, 5)
    folded = convolution.fold_batch_norm(values.of("0"), values.of("1"), torch.float32, padding=1)
    expected = folded(x)

    for tensor in values.values():
        tensor.zero_()

    assert torch.equal(folded(x), expected)


def test_batch_norm_epsilon_is_that_of_the_plain_tower() -> None:
    assert nn.BatchNorm2d(1).eps == convolution.BATCH_NORM_EPS


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (7, 1), (7, 2)])
def test_depthwise_convolution_gives_the_outputs_in_its_order(
    outputs: int, kernel: int, stride: int
) -> None:
    plain = nn.Conv2d(6, 6 * outputs, kernel, stride, kernel // 2, groups=6)
    plain.requires_grad_(False)
    values, x = Borrowed(plain.state_dict()), image(6, 8, 5)
    fast = convolution.Depthwise(values, torch.float32, stride=stride, outputs=outputs)

    found = fast(x.permute(0, 2, 3, 1))

    assert found.is_contiguous()
    expected = plain(x)[:, fast.order].permute(0, 2, 3, 1)
    assert torch.allclose(found, expected, atol=1e-5)
