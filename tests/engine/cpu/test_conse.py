"""The CPU version of the embedded model's image tower, with scores in float32."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.engine.support import CPU, EXACT, Borrowed, engine_of, network_of, pixels, worst
from zeroshot.engine.cpu.conse import FastConSETower
from zeroshot.spec import ConSEConfig, NetworkConfig, TextConfig

TEXT = TextConfig(8, 600, 16, 1, 1, 32, "gelu")
CONFIG = NetworkConfig(12, ConSEConfig(64, 0, 40, 0.5, 5), TEXT)


@pytest.mark.parametrize("variant", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 9])
def test_tower_matches_the_plain_tower(variant: int, count: int) -> None:
    config = NetworkConfig(12, ConSEConfig(64, variant, 40, 0.5, 5), TEXT)
    network, batch = network_of(config), pixels(config, count)
    plain = engine_of(network, config, CPU, torch.float32, plain=True).encode_pixels(batch)

    found = engine_of(network, config, CPU, torch.float32).encode_pixels(batch)

    assert worst(found, plain) < EXACT


def test_scores_are_float32_in_bfloat16() -> None:
    plain = network_of(CONFIG).visual
    fast = FastConSETower(CONFIG.vision, Borrowed(plain.state_dict()), torch.bfloat16)

    found = fast(pixels(CONFIG, 3))

    assert found.dtype == torch.float32
    assert {p.dtype for p in fast.convolutions.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in fast.tower.parameters()} == {torch.float32}


def test_bfloat16_is_close_to_float32() -> None:
    network, batch = network_of(CONFIG), pixels(CONFIG, 5)
    exact = engine_of(network, CONFIG, CPU, torch.float32).encode_pixels(batch)

    found = engine_of(network, CONFIG, CPU, torch.bfloat16).encode_pixels(batch)

    assert float(F.cosine_similarity(found, exact).min()) > 0.99


def test_tower_owns_its_values() -> None:
    plain = network_of(CONFIG).visual
    fast = FastConSETower(CONFIG.vision, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(CONFIG, 3)
    expected = fast(batch)

    for parameter in plain.parameters():
        parameter.zero_()

    assert torch.equal(fast(batch), expected)
