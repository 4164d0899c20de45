"""Linear layers over patches against the convolutions that they replace."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.checkpoint.families_eva import MOBILECLIP_B
from tests.engine.support import Borrowed, network_of, pixels
from zeroshot.engine.cpu.patches import build_patches
from zeroshot.spec import NetworkConfig, TextConfig, ViTConfig

TEXT = TextConfig(8, 600, 16, 1, 1, 16, "gelu")
CONFIGS = {
    "patches": ViTConfig(40, 8, 48, 1, 2, 16, "gelu"),
    "patches with bias, remainder": ViTConfig(30, 7, 48, 1, 2, 16, "gelu", patch_bias=True),
    "convolutions": MOBILECLIP_B,
    "convolutions, remainder": replace(MOBILECLIP_B, image_size=70),
    "one patch": replace(MOBILECLIP_B, image_size=16),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_tokens_equal_those_of_the_convolutions(config: ViTConfig) -> None:
    network_config = NetworkConfig(20, config, TEXT)
    plain, batch = network_of(network_config).visual, pixels(network_config, 3)
    convolutions = plain.stem if config.stem == "convolutions" else plain.conv1
    expected = convolutions(batch).flatten(2).transpose(1, 2)

    patches = build_patches(config, Borrowed(plain.state_dict()), torch.float32)
    found = patches(patches.cut(batch))

    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def test_patches_of_a_wide_image_are_in_reading_order() -> None:
    network_config = NetworkConfig(20, CONFIGS["patches"], TEXT)
    plain = network_of(network_config).visual
    wide = torch.randn(2, 3, 16, 75, generator=torch.Generator().manual_seed(2))

    patches = build_patches(CONFIGS["patches"], Borrowed(plain.state_dict()), torch.float32)
    found = patches(patches.cut(wide))

    expected = plain.conv1(wide).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)
