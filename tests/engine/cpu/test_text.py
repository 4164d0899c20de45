"""The CPU text tower computes shared prefixes once, and pools where OpenAI's code does."""

from __future__ import annotations

import pytest
import torch

from tests.engine.support import CONFIGS, CPU, EXACT, Borrowed, engine_of, network_of, rows, worst
from zeroshot.engine.cpu import prefix_trees
from zeroshot.engine.cpu.text import FastTextTransformer
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig, TextConfig, ViTConfig


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


# ---- the tower itself

END = 599
TEXT = TextConfig(20, END + 1, 32, 3, 2, 64, "quick_gelu")
CONFIG = NetworkConfig(12, ViTConfig(8, 8, 16, 1, 1, 16, "gelu"), TEXT)


def towers(dtype: torch.dtype = torch.float32) -> tuple[torch.nn.Module, FastTextTransformer]:
    plain = network_of(CONFIG).text
    return plain, FastTextTransformer(TEXT, Borrowed(plain.state_dict()), dtype)


def run(tower: FastTextTransformer, texts: list[tuple[int, ...]]) -> torch.Tensor:
    """Embed texts as the CPU backend does, in their own order."""
    found = torch.empty(len(texts), 12)
    for batch in prefix_trees.plan(texts):
        found[batch.texts] = tower.run(batch, tower.compute_prefix(batch.prefix)).float()
    return found


@pytest.mark.parametrize(
    "texts",
    [
        [(598, END)],
        [(598, 1, END), (598, 1, 2, END), (598, 1, 2, 3, END), (598, 2, END)],
        [(598, *range(18), END), (598, END), (598, *range(17), 30, END)],
        [(598, n, 7, END) for n in range(300)],
        [(598, 5, 5, 5, n % 7, n, END) for n in range(300)],
    ],
    ids=["shortest", "one inside the other", "full context", "many", "many with one prefix"],
)
@pytest.mark.parametrize("repeated", [1, 64, 10_000])
def test_tree_of_texts_matches_each_text_alone(
    texts: list[tuple[int, ...]], repeated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_trees, "REPEATED", repeated)
    plain, fast = towers()
    expected = torch.cat([plain(torch.tensor([text])) for text in texts])

    found = run(fast, texts)

    assert torch.allclose(found, expected, atol=2e-5)


def test_empty_prefix_has_no_keys_and_values() -> None:
    _, fast = towers()

    kept = fast.compute_prefix(())

    assert [tuple(part.shape) for pair in kept for part in pair] == [(1, 2, 0, 16)] * 6


def test_prefix_has_keys_and_values_of_every_layer() -> None:
    _, fast = towers(torch.bfloat16)

    kept = fast.compute_prefix((598, 3, 4))

    assert [tuple(part.shape) for pair in kept for part in pair] == [(1, 2, 3, 16)] * 6
    assert {part.dtype for pair in kept for part in pair} == {torch.bfloat16}


def test_tower_keeps_the_token_table_and_owns_the_rest() -> None:
    plain, fast = towers()
    texts = [(598, 1, 2, END), (598, 4, END)]
    expected = run(fast, texts)

    for name, parameter in plain.named_parameters():
        if name != "token_embedding.weight":
            parameter.zero_()

    assert torch.equal(run(fast, texts), expected)
