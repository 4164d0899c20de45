"""EfficientNet-Lite: the layers of each variant, and TensorFlow's SAME padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.nn.test_layers import filled
from zeroshot.nn.efficientnet import (
    EfficientNetLite,
    InvertedBottleneck,
    SameConv,
    _count_padding,
    _round,
)

# With 1000 classes, as published with batch norms, which have two numbers per channel.
PARAMETERS = {0: 4_652_008, 1: 5_416_680, 2: 6_092_072}


@pytest.mark.parametrize(("variant", "published"), PARAMETERS.items())
def test_variant_has_the_published_number_of_parameters(variant: int, published: int) -> None:
    with torch.device("meta"):
        network = EfficientNetLite(variant, 1000)

    count = sum(parameter.numel() for parameter in network.parameters())

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    folded = sum(module.out_channels for module in convolutions)  # one bias instead of two numbers
    assert count + folded == published


@pytest.mark.parametrize("size", [32, 33, 64, 100])
@pytest.mark.parametrize("count", [1, 2])
def test_output_is_one_row_of_scores_per_image(size: int, count: int) -> None:
    network = filled(EfficientNetLite(0, 7))

    found = network(torch.randn(count, 3, size, size))

    assert found.shape == (count, 7)


def test_trunk_averages_the_features_and_the_classifier_scores_them() -> None:
    network = filled(EfficientNetLite(0, 7))
    image = torch.randn(2, 3, 64, 64)

    features = network.features(image)

    assert features.shape == (2, 1280, 2, 2)
    assert float(features.min()) >= 0
    assert float(features.max()) <= 6
    assert torch.equal(network.trunk(image), features.mean(dim=(2, 3)))
    assert torch.equal(network.classifier(network.trunk(image)), network(image))


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "missing"),
    [(224, 3, 2, 1), (225, 3, 2, 2), (7, 3, 2, 2), (8, 3, 2, 1), (8, 5, 2, 3), (1, 5, 2, 4)],
)
def test_same_padding_has_the_size_of_tensorflow(
    side: int, kernel: int, stride: int, missing: int
) -> None:
    assert _count_padding(side, kernel, stride) == missing

    assert SameConv(1, 1, kernel, stride=stride)(torch.ones(1, 1, side, side)).shape[-1] == -(
        -side // stride
    )


def test_odd_padding_is_larger_at_the_end() -> None:
    convolution = SameConv(1, 1, 3, stride=2)
    with torch.no_grad():
        convolution.weight.fill_(1.0)
        convolution.bias.zero_()
    image = torch.arange(16.0).view(1, 1, 4, 4)

    found = convolution(image)

    padded = F.pad(image, (0, 1, 0, 1))  # nothing at the start
    assert torch.equal(found, F.conv2d(padded, torch.ones(1, 1, 3, 3), stride=2))


@pytest.mark.parametrize(
    ("channels", "out", "stride", "residual"),
    [(8, 8, 1, True), (8, 8, 2, False), (8, 16, 1, False)],
)
def test_input_is_added_where_shapes_agree(
    channels: int, out: int, stride: int, residual: bool
) -> None:
    block = InvertedBottleneck(channels, out, 3, stride, 6)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, channels, 6, 6)

    found = block(x)

    assert torch.equal(found, x if residual else torch.zeros_like(found))


@pytest.mark.parametrize(
    ("channels", "rounded"), [(16, 16), (17.6, 16), (26.4, 24), (44, 48), (123.2, 120), (7, 8)]
)
def test_channels_are_rounded_to_multiples_of_eight(channels: float, rounded: int) -> None:
    assert _round(channels) == rounded
