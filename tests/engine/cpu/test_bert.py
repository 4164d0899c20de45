"""BERT on a CPU: equal to the plain tower without computing padding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.engine.families import BERTS, with_text
from tests.engine.support import CPU, engine_of, network_of, worst
from zeroshot.engine.cpu import bert
from zeroshot.engine.cpu.bert import plan
from zeroshot.spec import BertConfig

EXACT = 1e-5
CLOSE = 5e-2  # bfloat16
MIXED = [7, 3, 12, 3, 2, 5, 12, 3, 4]


def token_rows(config: BertConfig, lengths: list[int], seed: int = 3) -> list[list[int]]:
    """Draw rows without padding."""
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(2, config.vocab_size, (n,), generator=random).tolist() for n in lengths]


@pytest.mark.parametrize("lengths", [[5], MIXED, [4] * 9], ids=["one", "mixed", "alike"])
@pytest.mark.parametrize("config", BERTS.values(), ids=BERTS)
@pytest.mark.parametrize(
    ("dtype", "distance"), [(torch.float32, EXACT), (torch.bfloat16, CLOSE)], ids=["f32", "bf16"]
)
def test_tower_matches_the_plain_tower(
    config: BertConfig, dtype: torch.dtype, distance: float, lengths: list[int]
) -> None:
    network_config, rows = with_text(config), token_rows(config, lengths)
    network = network_of(network_config)
    expected = F.normalize(torch.cat([network.text(torch.tensor([row])) for row in rows]), dim=1)

    found = engine_of(network, network_config, CPU, dtype).encode_ids(rows)

    assert worst(found, expected) < distance
    gaps = (expected - expected.roll(1, 0)).norm(dim=1)
    assert len(rows) == 1 or float(gaps.min()) > 0.05  # the inputs differ


@pytest.mark.parametrize("config", BERTS.values(), ids=BERTS)
@pytest.mark.parametrize("plain", [False, True])
def test_padding_does_not_change_embeddings(config: BertConfig, plain: bool) -> None:
    network_config, rows = with_text(config), token_rows(config, MIXED)
    engine = engine_of(network_of(network_config), network_config, CPU, torch.float32, plain=plain)
    padded = [row + [config.pad] * (config.context_length - len(row)) for row in rows]

    assert worst(engine.encode_ids(padded), engine.encode_ids(rows)) < EXACT


def test_plain_tower_in_batches_matches_single_texts() -> None:
    config = with_text(BERTS["roberta"])
    assert isinstance(config.text, BertConfig)
    network, rows = network_of(config), token_rows(config.text, MIXED)
    engine = engine_of(network, config, CPU, torch.float32, plain=True)

    apart = torch.cat([engine.encode_ids([row]) for row in rows])

    assert worst(engine.encode_ids(rows), apart) < EXACT
    assert worst(engine.encode_ids(rows, batch_size=2), apart) < EXACT


def test_many_texts_are_embedded_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_text(BERTS["bert"])
    assert isinstance(config.text, BertConfig)
    rows = token_rows(config.text, [n % 9 + 2 for n in range(300)])
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    expected = engine.encode_ids(rows)

    monkeypatch.setattr(bert, "TOKENS", 24)

    assert worst(engine.encode_ids(rows), expected) < EXACT
    assert worst(engine.encode_ids(rows[::-1]).flip(0), expected) < EXACT


def test_plan_contains_each_text_once_and_groups_equal_lengths() -> None:
    rows = [tuple(range(n % 7 + 1)) for n in range(900)]

    batches = plan(rows, count=3)

    assert sorted(text for batch in batches for text in batch.texts) == list(range(900))
    assert all(batch.rows == [rows[text] for text in batch.texts] for batch in batches)
    assert len(batches) == 6  # 3,600 tokens
    tokens = [sum(map(len, batch.rows)) for batch in batches]
    assert max(tokens) - min(tokens) <= 8
    for batch in batches:
        lengths = [length for _, length in batch.sizes]
        assert lengths == sorted(set(lengths), reverse=True)


@pytest.mark.parametrize("texts", [0, 1, 20])
def test_few_texts_are_one_batch(texts: int) -> None:
    batches = plan([(1, 2, 3)] * texts, count=4)

    assert [len(batch.texts) for batch in batches] == ([texts] if texts else [])


def test_tower_owns_its_values() -> None:
    config = with_text(BERTS["roberta"])
    assert isinstance(config.text, BertConfig)
    network, rows = network_of(config), token_rows(config.text, MIXED)
    engine = engine_of(network, config, CPU, torch.float32)
    expected = engine.encode_ids(rows)

    for name, parameter in network.text.named_parameters():
        if name != "token_embedding.weight":  # rows are looked up in the file
            parameter.zero_()

    assert worst(engine.encode_ids(rows), expected) < 1e-6  # one core or all
