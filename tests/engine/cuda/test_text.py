"""The text towers for GPUs equal the plain towers, for every option and batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.cuda.support import GraphRuntime, backend_of, unit
from tests.engine.families import BERTS, TEXT, with_text
from tests.engine.support import CONFIGS, network_of, rows, worst
from tests.engine.test_families import token_rows
from zeroshot.engine.cuda.graphs import WARM_UP
from zeroshot.spec import BertConfig, TextConfig

EXACT = 1e-5


def one_by_one(config: Any, texts: list[tuple[int, ...]]) -> torch.Tensor:
    network = network_of(config)
    return unit(torch.cat([network.text(torch.tensor([text])) for text in texts]))


@pytest.mark.parametrize("config", TEXT.values(), ids=TEXT)
@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_tower_equals_the_plain_tower(
    config: TextConfig, batch_size: int | None, device: torch.device
) -> None:
    whole, texts = with_text(config), [tuple(row) for row in token_rows(config)]
    expected = one_by_one(whole, texts)

    found = unit(backend_of(whole, device=device).embed_ids(texts, batch_size))

    assert worst(found, expected) < EXACT
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.05  # the inputs differ


@pytest.mark.parametrize("config", BERTS.values(), ids=BERTS)
def test_bert_equals_the_plain_tower(config: BertConfig, device: torch.device) -> None:
    whole, random = with_text(config), torch.Generator().manual_seed(1)
    texts = [
        tuple(torch.randint(4, config.vocab_size, (n,), generator=random).tolist())
        for n in (5, 2, 9, 4)
    ]
    expected = one_by_one(whole, texts)

    found = unit(backend_of(whole, device=device).embed_ids(texts))

    assert worst(found, expected) < EXACT
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.05


@pytest.mark.parametrize("config", [*TEXT.values(), *BERTS.values()], ids=[*TEXT, *BERTS])
def test_texts_padded_for_graphs_have_the_same_embeddings(
    config: TextConfig | BertConfig,
) -> None:
    whole, runtime = with_text(config), GraphRuntime()
    if isinstance(config, TextConfig):
        texts = [tuple(row) for row in token_rows(config)]
    else:
        texts = [tuple(range(5, 5 + n)) for n in (3, 8, 9)]
    backend, expected = backend_of(whole, runtime), one_by_one(whole, texts)

    for _ in range(WARM_UP + 2):
        for number, text in enumerate(texts):
            found = unit(backend.embed_ids([text]))
            assert worst(found, expected[number : number + 1]) < EXACT

    assert runtime.replayed
    assert len(runtime.captured) <= 2  # lengths are rounded up
    assert max(shape[1] for shape in runtime.captured) <= config.context_length


def test_many_texts_keep_their_order() -> None:
    config = CONFIGS["quick_gelu"]
    lengths = [3 + (7 * n) % 60 for n in range(700)]
    texts = [tuple(row) for row in rows(config, lengths)]
    backend = backend_of(config)

    found = unit(backend.embed_ids(texts))

    some = [0, 1, 350, 698, 699]
    assert worst(found[some], one_by_one(config, [texts[n] for n in some])) < EXACT


def test_no_texts_give_no_rows() -> None:
    config = CONFIGS["quick_gelu"]

    assert backend_of(config).embed_ids([]).shape == (0, config.embed_dim)
