"""The CPU backend: batches, failures of single rows, and the torch settings of the caller."""

from __future__ import annotations

import threading

import pytest
import torch

from tests.engine.support import CLOSE, CONFIGS, CPU, EXACT, engine_of, network_of, pixels, worst
from zeroshot.engine.cpu import linear
from zeroshot.errors import NonFiniteError
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig


def test_embeddings_do_not_depend_on_the_batch(network: Network, config: NetworkConfig) -> None:
    engine = engine_of(network, config, CPU, torch.float32)
    batch = pixels(config, 19)
    together = engine.encode_pixels(batch)

    assert worst(torch.cat([engine.encode_pixels(one[None]) for one in batch]), together) < EXACT
    assert worst(engine.encode_pixels(batch, batch_size=5), together) < EXACT


@pytest.mark.skipif(not linear.can_pack(torch.bfloat16), reason="requires a CPU with bfloat16")
def test_bfloat16_image_embedding_does_not_depend_on_the_batch(
    network: Network, config: NetworkConfig
) -> None:
    engine = engine_of(network, config, CPU, torch.bfloat16)
    batch = pixels(config, 19)
    together = engine.encode_pixels(batch)

    alone = torch.cat([engine.encode_pixels(one[None]) for one in batch])

    assert worst(alone, together) < CLOSE / 20  # far less than the error of bfloat16


@pytest.mark.parametrize("length", [3, 14, 40])
def test_non_finite_text_does_not_affect_other_texts(length: int) -> None:
    config = CONFIGS["quick_gelu"]
    network = network_of(config)
    with torch.no_grad():
        network.text.token_embedding.weight[7] = 3e38  # finite, and overflows in the first layer
    texts = [[598, *range(10 + n, 8 + n + length), 599] for n in range(20)]
    bad = [598, *range(100, 97 + length), 7, 599]

    with pytest.raises(NonFiniteError) as caught:
        engine_of(network, config, CPU, torch.float32).encode_ids([*texts, bad, *texts])

    assert caught.value.rows == [20]


def test_torch_settings_of_the_caller_are_unchanged(
    network: Network, config: NetworkConfig
) -> None:
    def seen_by_a_new_thread() -> int:
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return seen[0]

    before = torch.get_num_threads(), seen_by_a_new_thread(), torch.is_grad_enabled()

    engine_of(network, config, CPU, torch.float32).encode_pixels(pixels(config, 40))

    assert (torch.get_num_threads(), seen_by_a_new_thread(), torch.is_grad_enabled()) == before
