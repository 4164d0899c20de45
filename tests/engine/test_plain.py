"""The plain backend: the modules of `zeroshot.nn` themselves, in batches of equal length."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.engine.support import CONFIGS, CPU, EXACT, network_of, pixels, rows, worst
from zeroshot.checkpoint.weights import Weights
from zeroshot.engine import plain
from zeroshot.engine.plain import PlainBackend
from zeroshot.images.preprocess import Preprocess
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig


def backend_of(
    network: Network, config: NetworkConfig, dtype: torch.dtype = torch.float32
) -> PlainBackend:
    return PlainBackend(Weights.of_network(network, config), config, CPU, dtype)


def tuples(config: NetworkConfig, lengths: list[int]) -> list[tuple[int, ...]]:
    return [tuple(row) for row in rows(config, lengths)]


def unit(embeddings: torch.Tensor) -> torch.Tensor:
    return F.normalize(embeddings, dim=1)


def test_images_are_embedded_as_by_the_module(network: Network, config: NetworkConfig) -> None:
    batch = pixels(config, 7)
    expected = network.visual(batch)

    found = backend_of(network, config).embed_pixels(batch)

    assert found.dtype == torch.float32
    assert worst(unit(found), unit(expected)) < EXACT


def test_texts_are_embedded_as_by_the_module_one_at_a_time(
    network: Network, config: NetworkConfig
) -> None:
    texts = tuples(config, [9, 3, 77, 5, 3])
    expected = torch.cat([network.text(torch.tensor([text])) for text in texts])

    found = backend_of(network, config).embed_ids(texts)

    assert worst(unit(found), unit(expected)) < EXACT


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_batch_size_bounds_each_batch_and_does_not_change_embeddings(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIGS["quick_gelu"]
    backend = backend_of(network_of(config), config)
    batch, texts = pixels(config, 9), tuples(config, [9, 3, 77, 5, 3, 12, 4, 30, 8])
    expected = backend.embed_pixels(batch), backend.embed_ids(texts)
    sizes: list[tuple[int, ...]] = []
    for tower in (backend._visual, backend._text):
        tower.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape)))

    found = backend.embed_pixels(batch, batch_size), backend.embed_ids(texts, batch_size)

    assert max(size[0] for size in sizes) == min(batch_size, 9)
    assert sum(size[0] for size in sizes) == 18
    for one, other in zip(found, expected, strict=True):
        assert worst(unit(one), unit(other)) < EXACT


def test_texts_are_cut_to_the_longest_of_their_batch() -> None:
    config = CONFIGS["quick_gelu"]
    backend = backend_of(network_of(config), config)
    lengths: list[int] = []
    backend._text.register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))

    backend.embed_ids(tuples(config, [40, 3, 5, 41]), batch_size=2)

    assert lengths == [5, 41]


def test_default_batch_is_256(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["one layer"]
    backend = backend_of(network_of(config), config)
    sizes: list[int] = []
    backend._visual.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))

    backend.embed_pixels(pixels(config, 257))

    assert sizes == [plain.BATCH, 1] == [256, 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_towers_run_in_the_precision_asked_for(dtype: torch.dtype) -> None:
    config = CONFIGS["one layer"]
    backend = backend_of(network_of(config), config, dtype)

    found = backend.embed_pixels(pixels(config, 2))

    assert {parameter.dtype for parameter in backend._visual.parameters()} == {dtype}
    assert found.dtype == torch.float32
    assert torch.equal(found, found.to(dtype).float())


def test_each_tower_is_made_when_it_is_first_used() -> None:
    config = CONFIGS["one layer"]
    backend = backend_of(network_of(config), config)
    assert not {"_visual", "_text"} & vars(backend).keys()

    backend.embed_ids(tuples(config, [3]))

    assert "_text" in vars(backend)
    assert "_visual" not in vars(backend)


def test_threads_make_a_tower_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["one layer"]
    backend = backend_of(network_of(config), config)
    made: list[str] = []
    materialize = Weights.materialize

    def counted(weights: Weights, module: str, **options: object) -> nn.Module:
        made.append(module)
        return materialize(weights, module, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Weights, "materialize", counted)
    start = threading.Barrier(4)
    found: list[torch.Tensor] = []

    def work() -> None:
        start.wait()
        found.append(backend.embed_pixels(pixels(config, 2)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made == ["visual"]
    assert all(torch.equal(one, found[0]) for one in found)


def test_embeddings_are_not_inference_tensors_after_the_engine() -> None:
    from zeroshot.engine import Engine

    config = CONFIGS["one layer"]
    weights = Weights.of_network(network_of(config), config)
    engine = Engine(weights, config, CPU, torch.float32, plain=True)

    assert not engine.encode_pixels(pixels(config, 2)).is_inference()
    assert not engine.encode_ids(rows(config, [3, 5])).is_inference()


def test_float32_pixels_are_those_of_the_reference() -> None:
    from PIL import Image

    from tests.support import photograph

    config, preprocess = CONFIGS["one layer"], Preprocess(40)
    backend = backend_of(network_of(config), config)
    image = Image.fromarray(photograph())

    assert (backend.prepare(image, preprocess) == preprocess(image)).all()


def test_map_batches_keeps_the_order_and_the_batch_size() -> None:
    config = CONFIGS["one layer"]
    backend = backend_of(network_of(config), config)

    found = list(
        backend.map_batches(
            lambda item: 2 * item, lambda batch: list(batch), range(7), batch_size=3
        )
    )

    assert found == [[0, 2, 4], [6, 8, 10], [12]]
