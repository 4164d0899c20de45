"""The bytes of images that wait to be read are bounded, and no consumer waits for ever."""

from __future__ import annotations

import threading
import time
from collections import deque

from zeroshot.bulk.sources.budget import Budget, Held
from zeroshot.lookahead import run_ahead


def test_threads_hold_at_most_the_limit() -> None:
    budget = Budget(limit=100, patience=5)
    highest = 0

    def read(held: Held[int]) -> int:
        nonlocal highest
        highest = max(highest, budget.held)
        time.sleep(0.001)
        return held.read()

    items = (Held(lambda n=n: n, 30, budget) for n in range(60))

    assert list(run_ahead(read, items, workers=3, limit=50)) == list(range(60))
    assert highest <= 100
    assert budget.held == 0


def test_consumer_that_collects_items_before_reading_them_waits_once() -> None:
    budget = Budget(limit=10, patience=0.05)
    start = time.monotonic()

    items = [Held(lambda: b"", 5, budget) for _ in range(100)]

    assert time.monotonic() - start < 1
    assert budget.held == 500
    assert [item.read() for item in items] == [b""] * 100
    assert budget.held == 0


def test_image_larger_than_the_limit_is_granted_alone() -> None:
    budget = Budget(limit=10, patience=60)

    assert Held(lambda: 1, 1000, budget).read() == 1


def test_items_that_nobody_reads_give_their_bytes_back() -> None:
    budget = Budget(limit=10, patience=60)
    for _ in range(5):
        Held(lambda: 1, 8, budget)

    assert budget.held == 0


def test_content_that_is_read_twice_is_counted_once() -> None:
    budget = Budget(limit=10)
    held = Held(lambda: 1, 8, budget)

    assert (held.read(), held.read(), budget.held) == (1, 1, 0)


def test_waiting_thread_continues_when_bytes_are_given_back() -> None:
    budget = Budget(limit=10, patience=60)
    first = Held(lambda: 1, 8, budget)
    done: deque[int] = deque()
    thread = threading.Thread(target=lambda: done.append(Held(lambda: 2, 8, budget).read()))
    thread.start()

    time.sleep(0.05)
    assert not done
    first.read()
    thread.join(5)
    assert list(done) == [2]
