"""Towers of other families: the CPU version equals the plain one, in both precisions."""

from __future__ import annotations

import pytest
import torch

from tests.engine.families import TEXT, VISION, with_text, with_vision
from tests.engine.support import CPU, engine_of, network_of, pixels, worst
from zeroshot.spec import TextConfig, ViTConfig

EXACT = 1e-5
CLOSE = 5e-2  # bfloat16
PRECISIONS = [(torch.float32, EXACT), (torch.bfloat16, CLOSE)]


def token_rows(config: TextConfig) -> list[list[int]]:
    """Draw rows as the tokenizer of the tower would give them."""
    random = torch.Generator().manual_seed(3)
    end = config.pooled_id
    found = []
    for length in (1, 2, 5, 6, 7, 3):
        text = torch.randint(3, config.vocab_size - 1, (length,), generator=random).tolist()
        row = [*text, 1 if end is None else end]
        found.append(row if config.causal else row + [1] * (config.context_length - len(row)))
    return found


@pytest.mark.parametrize("config", VISION.values(), ids=VISION)
@pytest.mark.parametrize(("dtype", "distance"), PRECISIONS, ids=["float32", "bfloat16"])
@pytest.mark.parametrize("project", [True, False])
def test_image_tower_matches_the_plain_tower(
    config: ViTConfig, dtype: torch.dtype, distance: float, project: bool
) -> None:
    network_config = with_vision(config)
    network, batch = network_of(network_config), pixels(network_config, 5)
    plain = engine_of(network, network_config, CPU, torch.float32, plain=True)
    expected = plain.encode_pixels(batch, project=project)

    found = engine_of(network, network_config, CPU, dtype).encode_pixels(batch, project=project)

    assert found.shape == (5, network_config.embed_dim if project else config.width)
    assert worst(found, expected) < distance
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.05  # the inputs differ


@pytest.mark.parametrize("config", TEXT.values(), ids=TEXT)
@pytest.mark.parametrize(("dtype", "distance"), PRECISIONS, ids=["float32", "bfloat16"])
def test_text_tower_matches_the_plain_tower(
    config: TextConfig, dtype: torch.dtype, distance: float
) -> None:
    network_config, rows = with_text(config), token_rows(config)
    network = network_of(network_config)
    expected = torch.nn.functional.normalize(
        torch.cat([network.text(torch.tensor([row])) for row in rows]), dim=1
    )

    found = engine_of(network, network_config, CPU, dtype).encode_ids(rows)

    assert worst(found, expected) < distance
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.05


@pytest.mark.parametrize("name", ["siglip", "pe"])
def test_batch_size_does_not_change_images(name: str) -> None:
    config = with_vision(VISION[name])
    engine, batch = engine_of(network_of(config), config, CPU, torch.float32), pixels(config, 7)

    assert worst(engine.encode_pixels(batch, batch_size=2), engine.encode_pixels(batch)) < EXACT


def test_many_full_rows_are_embedded_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    from zeroshot.engine.cpu import text

    config = with_text(TEXT["siglip"])
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    rows = [[n % 390 + 5, n % 7, *[1] * 6] for n in range(500)]
    expected = engine.encode_ids(rows)

    monkeypatch.setattr(text, "TOKENS", 24)  # three rows a batch

    assert worst(engine.encode_ids(rows), expected) < EXACT
    assert torch.equal(engine.encode_ids(rows[::-1]).flip(0)[:9], engine.encode_ids(rows)[:9])


def test_pads_of_full_rows_change_the_embedding() -> None:
    config = with_text(TEXT["siglip"])
    engine = engine_of(network_of(config), config, CPU, torch.float32)

    found = engine.encode_ids([[5, 6, 1, 1, 1, 1, 1, 1], [5, 6, 1, 0, 0, 0, 0, 0]])

    assert float((found[0] - found[1]).norm()) > 0.1


@pytest.mark.parametrize("part", ["vision", "text"])
def test_tower_owns_its_values(part: str) -> None:
    config = with_vision(VISION["pe"]) if part == "vision" else with_text(TEXT["siglip"])
    network = network_of(config)
    engine = engine_of(network, config, CPU, torch.float32)
    rows = token_rows(config.text)
    tower = network.visual if part == "vision" else network.text

    def run() -> torch.Tensor:
        batch = pixels(config, 2)
        return engine.encode_pixels(batch) if part == "vision" else engine.encode_ids(rows)

    expected = run()
    for name, parameter in tower.named_parameters():
        if name != "token_embedding.weight":  # rows are looked up in the file
            parameter.zero_()

    assert worst(run(), expected) < 1e-6  # on a busy machine a second run uses one core
