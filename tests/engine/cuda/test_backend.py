"""The CUDA backend: images as gray levels, in order, with bounded memory; texts; errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.engine.cuda.support import (
    MEAN,
    STD,
    GraphRuntime,
    LateRuntime,
    SmallRuntime,
    backend_of,
    levels,
    normalized,
    unit,
)
from tests.engine.support import CONFIGS, network_of, pixels, rows, worst
from tests.support import photograph
from zeroshot.engine.cuda import backend as module
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.engine.cuda.graphs import WARM_UP
from zeroshot.engine.cuda.memory import Limit
from zeroshot.errors import DeviceError
from zeroshot.images.preprocess import Preprocess

CONFIG = CONFIGS["quick_gelu"]
EXACT = 1e-5


@pytest.fixture
def backend() -> CudaBackend:
    return backend_of(CONFIG)


@pytest.mark.parametrize("count", [1, 5, 33])
def test_levels_are_normalized_as_the_reference_does(count: int, device: torch.device) -> None:
    images = levels(CONFIG, count)
    expected = unit(network_of(CONFIG).visual(normalized(images)))

    found = unit(backend_of(CONFIG, device=device).embed_pixels(images))

    assert worst(found, expected) < EXACT
    assert count == 1 or float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.01


def test_normalized_levels_are_equal_to_the_last_bit(device: torch.device) -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3).T.reshape(3, 16, 16)
    normalize = module._Normalization(MEAN, STD, device)

    found = normalize(torch.from_numpy(every.copy())[None].to(device)).cpu()

    reference = Preprocess(16, mean=MEAN, std=STD).normalize(every.transpose(1, 2, 0))
    assert np.array_equal(found[0].numpy(), reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_loaded_image_is_the_levels_of_the_preprocessing(dtype: torch.dtype) -> None:
    preprocess = Preprocess(40, mean=MEAN, std=STD)
    image = Image.fromarray(photograph())

    found = backend_of(CONFIG, dtype=dtype).load(image, preprocess)

    difference = found.values.astype(int) - preprocess.levels(image)
    assert np.abs(difference).max() <= (0 if dtype == torch.float32 else 1)
    assert (found.mean, found.std) == (MEAN, STD)


def test_image_that_keeps_its_aspect_ratio_is_loaded_as_pixels(backend: CudaBackend) -> None:
    preprocess = Preprocess(40, resize_mode="aspect", patch=8, max_patches=25)
    image = Image.fromarray(photograph())

    assert np.array_equal(backend.load(image, preprocess), preprocess(image))


@pytest.mark.parametrize("batch_size", [None, 1, 4, 100])
def test_pixels_on_the_host_are_embedded_in_parts(
    batch_size: int | None, device: torch.device
) -> None:
    batch = pixels(CONFIG, 11)
    expected = unit(network_of(CONFIG).visual(batch))

    found = backend_of(CONFIG, device=device).embed_pixels(batch, batch_size)
    on_device = backend_of(CONFIG, device=device).embed_pixels(batch.to(device), batch_size)

    assert worst(unit(found), expected) < EXACT
    assert worst(unit(on_device), expected) < EXACT


@settings(max_examples=10)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4), batch_size=st.integers(2, 12))
def test_batches_of_mixed_sizes_pass_a_device_with_late_copies(
    sizes: list[int], batch_size: int
) -> None:
    backend, plain = shared_backend(), network_of(CONFIG).visual
    for seed, size in enumerate(sizes):
        images = levels(CONFIG, size, seed)

        found = unit(backend.embed_pixels(images, batch_size))

        assert worst(found, unit(plain(normalized(images)))) < EXACT


def shared_backend(kept: list[CudaBackend] = []) -> CudaBackend:  # noqa: B006
    """Return one backend for all examples of a property."""
    if not kept:
        kept.append(backend_of(CONFIG, LateRuntime()))
    return kept[0]


def test_threads_share_a_device_with_late_copies() -> None:
    backend = backend_of(CONFIG, LateRuntime())
    batches = [levels(CONFIG, 6, seed) for seed in range(4)]
    expected = [unit(network_of(CONFIG).visual(normalized(batch))) for batch in batches]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            if worst(unit(backend.embed_pixels(batches[number])), expected[number]) > EXACT:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_small_batches_are_replayed_with_changing_images() -> None:
    runtime = GraphRuntime()
    backend, plain = backend_of(CONFIG, runtime), network_of(CONFIG).visual

    for seed in range(WARM_UP + 4):
        images = levels(CONFIG, 3, seed)
        found = unit(backend.embed_pixels(images))
        assert worst(found, unit(plain(normalized(images)))) < EXACT
        features = unit(backend.embed_pixels(images, project=False))
        assert worst(features, unit(plain.trunk(normalized(images)))) < EXACT

    assert len(runtime.captured) == 2  # with and without projection
    assert len(runtime.replayed) == 8


def test_other_normalization_gets_a_graph_of_its_own() -> None:
    backend = backend_of(CONFIG, GraphRuntime())
    images = levels(CONFIG, 2)
    darker = [type(each)(each.values, (0.9, 0.9, 0.9), STD) for each in images]

    for _ in range(WARM_UP + 2):
        found = unit(backend.embed_pixels(images)), unit(backend.embed_pixels(darker))

    assert worst(*found) > 0.01


# The stream of batches


def slow(item: int) -> int:
    time.sleep(0.001 * (item % 5))
    return item


@settings(max_examples=30)
@given(
    count=st.integers(0, 60), batch_size=st.integers(1, 20), workers=st.sampled_from([None, 0, 3])
)
def test_order_is_kept(count: int, batch_size: int, workers: int | None) -> None:
    found = list(
        shared_backend().map_batches(
            slow, lambda batch: batch, range(count), batch_size=batch_size, workers=workers
        )
    )

    assert [item for batch in found for item in batch] == list(range(count))
    assert all(len(batch) == batch_size for batch in found[:-1])


def test_next_batch_is_embedded_before_the_first_one_is_done(backend: CudaBackend) -> None:
    both = threading.Barrier(2, timeout=20)

    def embed(batch: list[int]) -> list[int]:
        if batch[0] < 4:
            both.wait()  # reached only if two batches are in flight
        return batch

    batches = backend.map_batches(slow, embed, range(12), batch_size=2, workers=2)

    assert next(batches) == [0, 1]
    batches.close()  # type: ignore[attr-defined]


@pytest.fixture
def counted() -> Iterator[tuple[Callable[[int], int], dict[str, int]]]:
    """Return `slow` and how many items it prepared; no thread may be left afterwards."""
    numbers, lock = {"prepared": 0, "embedded": 0}, threading.Lock()
    before = set(threading.enumerate())

    def prepare(item: int) -> int:
        with lock:
            numbers["prepared"] += 1
        return slow(item)

    yield prepare, numbers
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert [name for name in left if name.startswith("zeroshot-decode")] == []


def test_memory_ahead_of_a_slow_consumer_is_bounded(
    backend: CudaBackend, counted: tuple[Callable[[int], int], dict[str, int]]
) -> None:
    prepare, numbers = counted
    batches = backend.map_batches(prepare, list, range(10_000), batch_size=5, workers=3)

    for taken in range(1, 4):
        next(batches)
        time.sleep(0.1)
        # batches given out, in flight and being prepared
        assert numbers["prepared"] <= 5 * (taken + module.EMBEDDING + 1) + 2 * 5
    batches.close()  # type: ignore[attr-defined]


def test_items_held_ahead_are_limited_in_bytes(
    backend: CudaBackend,
    monkeypatch: pytest.MonkeyPatch,
    counted: tuple[Callable[[int], int], dict[str, int]],
) -> None:
    prepare, numbers = counted
    monkeypatch.setattr(module, "HELD_BYTES", 12 * 3 * 40 * 40)  # levels of 12 images
    batches = backend.map_batches(prepare, list, range(10_000), batch_size=10, workers=3)

    next(batches)
    time.sleep(0.1)

    assert numbers["prepared"] <= 10 * (1 + module.EMBEDDING) + 12
    batches.close()  # type: ignore[attr-defined]


def test_nothing_runs_after_an_early_stop(
    backend: CudaBackend, counted: tuple[Callable[[int], int], dict[str, int]]
) -> None:
    prepare, numbers = counted
    batches = backend.map_batches(prepare, list, range(10_000), batch_size=4, workers=3)
    next(batches)

    batches.close()  # type: ignore[attr-defined]
    seen = numbers["prepared"]
    time.sleep(0.05)

    assert numbers["prepared"] == seen < 100


@pytest.mark.parametrize("stage", ["items", "prepare", "embed"])
def test_error_in_the_middle_comes_at_its_position_and_stops_all_work(
    backend: CudaBackend, counted: tuple[Callable[[int], int], dict[str, int]], stage: str
) -> None:
    prepare, _ = counted

    def items() -> Iterator[int]:
        for item in range(1000):
            if stage == "items" and item == 20:
                raise ValueError("items 20")
            yield item

    def prepare_or_fail(item: int) -> int:
        if stage == "prepare" and item == 20:
            raise ValueError("prepare 20")
        return prepare(item)

    def embed(batch: list[int]) -> list[int]:
        if stage == "embed" and 20 in batch:
            raise ValueError("embed 20")
        return batch

    found: list[int] = []
    batches = backend.map_batches(prepare_or_fail, embed, items(), batch_size=4, workers=3)
    with pytest.raises(ValueError, match=f"{stage} 20") as caught:
        found.extend(item for batch in batches for item in batch)

    assert found == list(range(20))
    assert caught.value.__traceback__ is not None  # which keeps no thread alive: see `counted`


def test_default_batch_is_what_fits_in_the_memory() -> None:
    sizes = {}
    for free in (None, 10**6, 10**12):
        backend = backend_of(CONFIG, SmallRuntime(free))
        sizes[free] = [len(each) for each in backend.map_batches(int, list, range(300))]

    assert sizes[None][0] == module.SIMULATED_IMAGES
    assert 1 <= sizes[10**6][0] < 10
    assert sizes[10**12] == [module.IMAGES, 300 - module.IMAGES]


# Errors of the device


class Scarce:
    """Runs out of memory for more than `capacity` inputs, in place of a tower."""

    def __init__(self, tower: Any, capacity: int) -> None:
        self.tower, self.capacity, self.sizes = tower, capacity, []

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(given))
        if len(given) > self.capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.tower(given)


def test_batch_of_images_is_halved_when_memory_runs_out(backend: CudaBackend) -> None:
    images = levels(CONFIG, 32)
    scarce = vars(backend)["_visual"] = Scarce(backend._visual, 9)
    expected = unit(network_of(CONFIG).visual(normalized(images)))

    found = [unit(backend.embed_pixels(images)) for _ in range(2)]

    assert scarce.sizes == [32, 16, 8, 8, 8, 8, 8, 8, 8, 8]
    assert all(worst(each, expected) < EXACT for each in found)


def test_batch_of_texts_is_halved_when_memory_runs_out(backend: CudaBackend) -> None:
    texts = [tuple(row) for row in rows(CONFIG, [5] * 16 + [9] * 16)]
    expected = backend.embed_ids(texts)
    scarce = vars(backend)["_text"] = Scarce(backend._text, 9)

    found = backend.embed_ids(texts)
    again = backend.embed_ids(texts)

    assert scarce.sizes == [32, 16, 8, 8, 8, 8, 8, 8, 8, 8]
    assert worst(unit(found), unit(expected)) < EXACT
    assert worst(unit(again), unit(expected)) < EXACT


def test_image_that_does_not_fit_is_an_error_with_the_numbers() -> None:
    backend = backend_of(CONFIG, SmallRuntime())
    backend._images = Limit(backend._runtime, 4, "image")
    vars(backend)["_visual"] = Scarce(backend._visual, 0)

    with pytest.raises(DeviceError, match=r"batch of 1 image; .* GB are free"):
        backend.embed_pixels(levels(CONFIG, 4))


def test_tower_that_does_not_fit_is_an_error_with_the_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def materialize(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    backend = backend_of(CONFIG, SmallRuntime())
    monkeypatch.setattr(backend._weights, "materialize", materialize)

    with pytest.raises(DeviceError, match=r"visual tower does not fit on cpu; .* GB are free"):
        backend.embed_pixels(levels(CONFIG, 4))


def test_use_after_a_fork_is_an_error_before_anything_else() -> None:
    class Forked(SmallRuntime):
        def check_process(self) -> None:
            raise DeviceError("forked")

    backend = backend_of(CONFIG, Forked())

    for use in (
        lambda: backend.embed_pixels(levels(CONFIG, 1)),
        lambda: backend.embed_ids([(1, 2)]),
        lambda: next(iter(backend.map_batches(int, list, [1]))),
    ):
        with pytest.raises(DeviceError, match="forked"):
            use()
