"""The CPU backend: batches, failures of single rows, and the torch settings of the caller."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest
import torch

from tests.engine.support import CLOSE, CONFIGS, CPU, EXACT, engine_of, network_of, pixels, worst
from zeroshot.engine.cpu import backend, linear, workers
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


@pytest.mark.parametrize(
    ("ran", "preemptions", "busy"),
    [(0.5, 3, True), (0.95, 3, False), (0.5, 0, False)],  # of one second
)
@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_backend_notices_that_other_programs_use_the_cores(
    monkeypatch: pytest.MonkeyPatch, kind: str, ran: float, preemptions: int, busy: bool
) -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    usage = cycle([(0.0, 0.0, 0), (1.0, ran, preemptions)])
    monkeypatch.setattr(backend, "_get_thread_usage", lambda: next(usage))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    if kind == "image":
        engine.encode_pixels(pixels(config, 1))
    else:
        engine.encode_ids([[598, 5, 599]])

    left = engine.backend.busy_until - time.monotonic()
    assert (0 < left <= backend.BUSY_SECONDS) is busy


def test_one_image_is_embedded_in_a_worker_while_other_programs_use_the_cores(
    network: Network, config: NetworkConfig
) -> None:
    engine = engine_of(network, config, CPU, torch.float32)
    expected = engine.encode_pixels(pixels(config, 1))
    threads: list[str] = []
    with (
        ThreadPoolExecutor(1, "worker", workers.become_worker) as pool,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(workers, "get_pool", lambda: pool)
        engine.backend.busy_until = time.monotonic() + 60
        submit = pool.submit
        patch.setattr(pool, "submit", lambda *task: (threads.append("worker"), submit(*task))[1])

        assert worst(engine.encode_pixels(pixels(config, 1)), expected) < EXACT

    assert threads == ["worker"]


def test_several_images_do_not_measure_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    monkeypatch.setattr(backend, "_get_thread_usage", lambda: pytest.fail("measured"))

    assert engine.encode_pixels(pixels(config, 2)).shape == (2, config.embed_dim)


def test_the_usage_of_a_thread_grows_with_its_work() -> None:
    before = backend._get_thread_usage()
    if not before[0]:
        pytest.skip("this system does not count the preemptions of a thread")
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    after = backend._get_thread_usage()
    elapsed, ran, preempted = (b - a for a, b in zip(before, after, strict=True))

    assert 0.02 <= ran <= elapsed + 0.01
    assert preempted >= 0
