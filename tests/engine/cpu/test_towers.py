"""The CPU towers against the plain modules, and the table that lists them."""

from __future__ import annotations

import pytest
import torch

from tests.engine.support import (
    CLOSE,
    CONFIGS,
    CPU,
    EXACT,
    engine_of,
    network_of,
    pixels,
    rows,
    worst,
)
from zeroshot.engine.backend import Values
from zeroshot.engine.cpu import linear
from zeroshot.engine.cpu.towers import CPU_TOWERS
from zeroshot.nn.network import TOWERS, Network
from zeroshot.spec import NetworkConfig


@pytest.mark.parametrize("count", [1, 3, 257])
def test_cpu_image_tower_matches_the_plain_tower(
    network: Network, config: NetworkConfig, operators: None, count: int
) -> None:
    batch = pixels(config, count)
    plain = engine_of(network, config, CPU, torch.float32, plain=True).encode_pixels(batch)

    found = engine_of(network, config, CPU, torch.float32).encode_pixels(batch)

    assert worst(plain, plain.roll(1, 0)) > 0.1 or count == 1  # the inputs differ
    assert worst(found, plain) < EXACT


def test_cpu_features_before_the_projection_match_the_plain_tower(
    network: Network, config: NetworkConfig, operators: None
) -> None:
    batch = pixels(config, 9)
    plain = engine_of(network, config, CPU, torch.float32, plain=True)
    expected = plain.encode_pixels(batch, project=False)

    found = engine_of(network, config, CPU, torch.float32).encode_pixels(batch, project=False)

    assert worst(expected, expected.roll(1, 0)) > 0.1
    assert worst(found, expected) < EXACT


@pytest.mark.parametrize(
    "lengths",
    [[3], [77], [2, 77, 3], [5] * 257, list(range(2, 78))],
    ids=["one token", "full context", "mixed", "257 alike", "every length"],
)
def test_cpu_text_tower_matches_the_plain_tower(
    network: Network, config: NetworkConfig, operators: None, lengths: list[int]
) -> None:
    texts = rows(config, lengths)
    plain = engine_of(network, config, CPU, torch.float32, plain=True).encode_ids(texts)

    found = engine_of(network, config, CPU, torch.float32).encode_ids(texts)

    assert worst(found, plain) < EXACT


@pytest.mark.skipif(not linear.can_pack(torch.bfloat16), reason="requires a CPU with bfloat16")
def test_bfloat16_is_close_to_float32(network: Network, config: NetworkConfig) -> None:
    batch, texts = pixels(config, 11), rows(config, [3, 9, 30, 77])
    plain = engine_of(network, config, CPU, torch.float32, plain=True)
    engine = engine_of(network, config, CPU, torch.bfloat16)

    assert worst(engine.encode_ids(texts), plain.encode_ids(texts)) < 5 * CLOSE
    assert worst(engine.encode_pixels(batch), plain.encode_pixels(batch)) < 5 * CLOSE


# ---- the table


@pytest.mark.parametrize("kind", CPU_TOWERS, ids=lambda kind: kind.kind)
def test_every_cpu_tower_has_a_plain_tower(kind: type) -> None:
    assert kind in TOWERS


@pytest.mark.parametrize("missing", ["vision", "text", "both"])
def test_tower_without_a_row_runs_as_the_plain_module(
    network: Network, config: NetworkConfig, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, texts = pixels(config, 5), rows(config, [3, 9, 77])
    plain = engine_of(network, config, CPU, torch.float32, plain=True)
    for which in ("vision", "text") if missing == "both" else (missing,):
        monkeypatch.delitem(CPU_TOWERS, type(getattr(config, which)))
    engine = engine_of(network, config, CPU, torch.float32)

    images, sentences = engine.encode_pixels(batch), engine.encode_ids(texts)

    assert worst(images, plain.encode_pixels(batch)) < EXACT
    assert worst(sentences, plain.encode_ids(texts)) < EXACT


def test_tower_is_made_once_of_its_config_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["one layer"]
    made: list[tuple[object, torch.dtype]] = []
    real = CPU_TOWERS[type(config.vision)]

    def counted(tower: object, values: Values, dtype: torch.dtype) -> object:
        made.append((tower, dtype))
        return real(tower, values, dtype)

    monkeypatch.setitem(CPU_TOWERS, type(config.vision), counted)
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    assert made == []  # not before it is used

    for count in (1, 40, 3):
        engine.encode_pixels(pixels(config, count))

    assert made == [(config.vision, torch.float32)]
