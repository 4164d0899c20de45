"""The thread that embeds images of concurrent requests."""

from __future__ import annotations

import gc
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from zeroshot.errors import ImageError
from zeroshot.serving.batcher import FAILURES, Batcher

SECONDS = 5.0


def embed(images: list[bytes]) -> list[Any]:
    return [np.full(2, len(image), dtype=np.float32) for image in images]


@pytest.fixture
def start() -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def start(work: Any = embed, **options: Any) -> Batcher:
        made.append(Batcher(work, **options))
        return made[-1]

    yield start
    for batcher in made:
        batcher.close()


class Gate:
    """Records batches, and holds the first one until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.batches: list[list[bytes]] = []

    def __call__(self, images: list[bytes]) -> list[Any]:
        self.batches.append(images)
        self.entered.set()
        assert self.opened.wait(SECONDS)
        return embed(images)


def hold(start: Callable[..., Batcher], **options: Any) -> tuple[Batcher, Gate, Any]:
    """Return a batcher that embeds a first image until its gate is opened."""
    gate = Gate()
    batcher = start(gate, **options)
    first = batcher.submit(b"first")
    assert gate.entered.wait(SECONDS)
    return batcher, gate, first


def test_each_image_gets_its_own_result(start: Callable[..., Batcher]) -> None:
    batcher = start()
    futures = [batcher.submit(b"x" * n) for n in range(1, 100)]

    assert [f.result(SECONDS)[0] for f in futures] == list(range(1, 100))


def test_waiting_images_share_a_batch_up_to_the_limit(start: Callable[..., Batcher]) -> None:
    batcher, gate, _ = hold(start, max_batch=8)
    futures = [batcher.submit(b"x") for _ in range(20)]
    gate.opened.set()
    for future in futures:
        future.result(SECONDS)

    assert [len(batch) for batch in gate.batches] == [1, 8, 8, 4]


def test_full_queue_refuses_images(start: Callable[..., Batcher]) -> None:
    batcher, gate, _ = hold(start, max_queue=3)
    futures = [batcher.submit(b"x") for _ in range(3)]

    assert not batcher.has_room
    with pytest.raises(queue.Full):
        batcher.submit(b"x")
    gate.opened.set()
    for future in futures:
        future.result(SECONDS)
    assert batcher.has_room


def test_canceled_images_are_not_embedded(start: Callable[..., Batcher]) -> None:
    batcher, gate, _ = hold(start)
    canceled, kept = batcher.submit(b"canceled"), batcher.submit(b"kept")
    assert canceled.cancel()
    gate.opened.set()
    kept.result(SECONDS)

    assert gate.batches == [[b"first"], [b"kept"]]


def test_canceled_images_leave_the_queue_at_once(start: Callable[..., Batcher]) -> None:
    batcher, gate, _ = hold(start, max_queue=3)
    for _ in range(20):
        futures = [batcher.submit(b"same") for _ in range(3)]
        assert not batcher.has_room
        for future in futures:
            assert future.cancel()
        assert batcher.waiting == 0
    kept = batcher.submit(b"kept")
    gate.opened.set()

    assert kept.result(SECONDS)[0] == 4
    assert gate.batches == [[b"first"], [b"kept"]]


def test_expired_images_are_not_embedded(start: Callable[..., Batcher]) -> None:
    batcher, gate, first = hold(start, deadline=0.05)
    late = batcher.submit(b"late")
    threading.Event().wait(0.1)
    gate.opened.set()

    with pytest.raises(TimeoutError):
        late.result(SECONDS)
    assert first.result(SECONDS)[0] == 5
    assert gate.batches == [[b"first"]]


def test_exception_fails_its_image_only_and_the_thread_goes_on(
    start: Callable[..., Batcher],
) -> None:
    def fragile(images: list[bytes]) -> list[Any]:
        if b"bad" in images:
            raise MemoryError("no memory")
        return embed(images)

    batcher = start(fragile)
    futures = [batcher.submit(image) for image in (b"ok", b"bad", b"ok", b"ok", b"ok")]

    with pytest.raises(MemoryError):
        futures[1].result(SECONDS)
    assert [f.result(SECONDS)[0] for f in futures[2:]] == [2, 2, 2]
    assert batcher.is_alive
    assert batcher.submit(b"ok").result(SECONDS)[0] == 2


def test_batcher_whose_batches_all_fail_is_not_alive_until_one_succeeds(
    start: Callable[..., Batcher],
) -> None:
    broken = [True]

    def work(images: list[bytes]) -> list[Any]:
        if broken[0]:
            raise RuntimeError("CUDA error")
        return embed(images)

    batcher = start(work)
    for number in range(FAILURES):
        assert batcher.is_alive, number
        with pytest.raises(RuntimeError, match="CUDA"):
            batcher.submit(b"x").result(SECONDS)
    assert not batcher.is_alive
    broken[0] = False
    batcher.submit(b"x").result(SECONDS)
    assert batcher.is_alive


def test_images_of_one_batch_are_one_failure(start: Callable[..., Batcher]) -> None:
    gate = Gate()

    def work(images: list[bytes]) -> list[Any]:
        gate(images)
        raise RuntimeError("CUDA error")

    batcher = start(work)
    futures = [batcher.submit(b"x")]
    assert gate.entered.wait(SECONDS)
    futures += [batcher.submit(b"x") for _ in range(FAILURES)]
    gate.opened.set()
    for future in futures:
        with pytest.raises(RuntimeError, match="CUDA"):
            future.result(SECONDS)

    assert batcher.is_alive  # two batches failed


def test_nothing_keeps_an_image_after_its_result(start: Callable[..., Batcher]) -> None:
    batcher = start()
    image = bytes(bytearray(b"not interned"))
    count = sys.getrefcount(image)
    gc.disable()
    try:
        assert batcher.submit(image).result(SECONDS)[0] == len(image)
        for _ in range(500):  # until the thread waits for the next batch
            if sys.getrefcount(image) == count:
                break
            time.sleep(0.01)
        assert sys.getrefcount(image) == count
    finally:
        gc.enable()


def test_wrong_number_of_results_fails_the_images(start: Callable[..., Batcher]) -> None:
    batcher = start(lambda images: [])

    with pytest.raises(ValueError, match="zip"):
        batcher.submit(b"x").result(SECONDS)
    assert batcher.is_alive


def test_image_error_is_a_result(start: Callable[..., Batcher]) -> None:
    error = ImageError("broken", kind="truncated")
    batcher = start(lambda images: [error for _ in images])

    assert batcher.submit(b"x").result(SECONDS) is error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_end_of_the_thread_fails_waiting_images_and_is_seen(start: Callable[..., Batcher]) -> None:
    opened = threading.Event()

    def die(images: list[bytes]) -> list[Any]:
        opened.wait(SECONDS)
        raise SystemExit

    batcher = start(die, max_batch=1)
    batcher.submit(b"first")
    waiting = [batcher.submit(b"x") for _ in range(3)]
    opened.set()

    for future in waiting:
        with pytest.raises(RuntimeError, match="closed"):
            future.result(SECONDS)
    assert not batcher.is_alive
    with pytest.raises(queue.Full):
        batcher.submit(b"x")


def test_closed_batcher_refuses_images(start: Callable[..., Batcher]) -> None:
    batcher = start()
    batcher.close()

    assert not batcher.is_alive
    with pytest.raises(queue.Full):
        batcher.submit(b"x")
