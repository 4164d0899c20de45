"""The Engine: checked and normalized embeddings, whatever the caller's torch state."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from tests.engine.support import CONFIGS, CPU, engine_of, network_of, pixels, rows
from zeroshot.engine.cpu.text import FastTextTransformer
from zeroshot.errors import NonFiniteError
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_empty_input_gives_empty_embeddings(
    network: Network, config: NetworkConfig, dtype: torch.dtype
) -> None:
    engine = engine_of(network, config, CPU, dtype)

    assert engine.encode_pixels(pixels(config, 0)).shape == (0, config.embed_dim)
    assert engine.encode_ids([]).shape == (0, config.embed_dim)


def test_unnormalized_embeddings_have_the_length_of_the_plain_ones(
    network: Network, config: NetworkConfig
) -> None:
    batch = pixels(config, 3)
    plain = engine_of(network, config, CPU, torch.float32, plain=True)
    expected = plain.encode_pixels(batch, normalize=False)

    found = engine_of(network, config, CPU, torch.float32).encode_pixels(batch, normalize=False)

    assert float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max()) < 1e-5


def test_duplicate_texts_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    one, other = rows(config, [5, 6])
    run: list[int] = []
    real = FastTextTransformer.run
    monkeypatch.setattr(
        FastTextTransformer,
        "run",
        lambda self, batch, *rest: run.append(len(batch.texts)) or real(self, batch, *rest),
    )

    found = engine.encode_ids([one, other, one, one])

    assert sum(run) == 2
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_non_finite_embedding_error_lists_the_rows() -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    batch = pixels(config, 3)
    batch[1] = torch.inf

    with pytest.raises(NonFiniteError) as caught:
        engine.encode_pixels(batch)

    assert caught.value.rows == [1]


def test_default_dtype_and_autocast_of_the_caller_have_no_effect() -> None:
    config = CONFIGS["quick_gelu"]
    network, texts, batch = network_of(config), rows(config, [3, 9]), pixels(config, 3)
    engine = engine_of(network, config, CPU, torch.float32)
    expected = engine.encode_ids(texts), engine.encode_pixels(batch)
    again = engine_of(network, config, CPU, torch.float32)

    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
            found = again.encode_ids(texts), again.encode_pixels(batch)
    finally:
        torch.set_default_dtype(torch.float32)

    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_engine_can_be_copied_and_pickled() -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    texts = rows(config, [3, 9])
    expected = engine.encode_ids(texts)

    assert torch.equal(copy.deepcopy(engine).encode_ids(texts), expected)
    assert torch.equal(pickle.loads(pickle.dumps(engine)).encode_ids(texts), expected)


def test_embeddings_can_be_used_in_training() -> None:
    config = CONFIGS["one layer"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    layer = torch.nn.Linear(config.embed_dim, 2)

    for found in (engine.encode_pixels(pixels(config, 3)), engine.encode_ids(rows(config, [3]))):
        assert not found.requires_grad
        layer(found).sum().backward()

    assert layer.weight.grad is not None


def test_embeddings_have_unit_length(network: Network, config: NetworkConfig) -> None:
    engine = engine_of(network, config, CPU, torch.float32)

    for found in (engine.encode_pixels(pixels(config, 3)), engine.encode_ids(rows(config, [3, 9]))):
        assert torch.allclose(found.norm(dim=1), torch.ones(len(found)), atol=1e-5)


def test_embeddings_too_long_for_float32_are_an_error_not_zeros() -> None:
    config = CONFIGS["quick_gelu"]
    network = network_of(config)
    with torch.no_grad():
        network.visual.ln_post.bias.fill_(1e25)

    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(NonFiniteError) as caught:
            engine_of(network, config, CPU, dtype).encode_pixels(pixels(config, 2))
        assert caught.value.rows == [0, 1]
