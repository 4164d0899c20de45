"""The CPU text tower computes shared prefixes once, and pools where OpenAI's code does."""

from __future__ import annotations

import pytest
import torch

from tests.engine.support import CONFIGS, CPU, EXACT, engine_of, network_of, rows, worst
from zeroshot.engine.cpu import prefix_trees
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig


@pytest.mark.parametrize("repeated", [1, 10_000], ids=["kept", "in trees"])
def test_shared_prefix_does_not_change_embeddings(
    network: Network,
    config: NetworkConfig,
    operators: None,
    monkeypatch: pytest.MonkeyPatch,
    repeated: int,
) -> None:
    monkeypatch.setattr(prefix_trees, "REPEATED", repeated)
    end = config.text.vocab_size - 1
    beginnings = [[end - 1, 7, 8], [end - 1, 7, 8, 9, 4], [end - 1, 3]]
    labels = rows(config, [3 + n % 5 for n in range(300)])
    texts = [begin + label[1:] for begin in beginnings for label in labels]
    plain = engine_of(network, config, CPU, torch.float32, plain=True).encode_ids(texts)

    found = engine_of(network, config, CPU, torch.float32).encode_ids(texts)

    prefixes = {batch.prefix for batch in prefix_trees.plan(list(map(tuple, texts)))}
    assert len(prefixes) >= 3 if repeated == 1 else prefixes == {()}
    assert worst(found, plain) < EXACT


@pytest.mark.parametrize("inside", [[], [7], [7, 8, 9]])
def test_text_with_several_end_tokens_is_pooled_at_the_first(inside: list[int]) -> None:
    config = CONFIGS["quick_gelu"]
    network, end = network_of(config), config.text.vocab_size - 1
    texts = [[end - 1, *inside, end, 5, 6, end]]
    plain = network.text(torch.tensor(texts))  # as OpenAI's code, at the first of the largest ids

    found = engine_of(network, config, CPU, torch.float32).encode_ids(texts, normalize=False)

    assert torch.allclose(found, plain, atol=1e-5)
