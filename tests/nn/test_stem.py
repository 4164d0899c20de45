"""The convolution stem against a patch-by-patch computation."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.engine.support import network_of
from zeroshot.nn.stem import ConvolutionStem
from zeroshot.spec import NetworkConfig, TextConfig, ViTConfig

CONFIG = NetworkConfig(
    8,
    ViTConfig(48, 16, 24, 1, 2, 16, "gelu", stem="convolutions"),
    TextConfig(8, 600, 16, 1, 1, 16, "gelu"),
)


def stem() -> ConvolutionStem:
    found = network_of(CONFIG).visual.stem
    assert isinstance(found, ConvolutionStem)
    return found


def test_output_is_one_token_per_16_pixels() -> None:
    assert stem()(torch.randn(2, 3, 48, 80)).shape == (2, 24, 3, 5)


def test_token_depends_on_the_pixels_of_its_patch_only() -> None:
    pixels = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    other = pixels.clone()
    other[..., 16:32, 32:48] += 1

    changed = (stem()(other) - stem()(pixels)).abs().amax(dim=1)[0] > 1e-6

    assert changed.nonzero().tolist() == [[1, 2]]


def test_all_but_the_last_convolution_are_normalized_and_activated() -> None:
    module = stem()
    pixels = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    cells = F.unfold(pixels, 4, stride=4)[0].T  # [16, 48]
    first = module.bn1((cells @ module.conv1.weight.flatten(1).T)[:, :, None, None])
    grid = F.gelu(first)[:, :, 0, 0].T.reshape(1, 6, 4, 4)
    second = F.gelu(module.bn2(module.conv2(grid)))

    expected = torch.einsum("cyx,ocyx->o", second[0], module.conv3.weight) + module.conv3.bias

    torch.testing.assert_close(module(pixels)[0, :, 0, 0], expected)
