"""Items are processed ahead in order, on a bounded number of threads."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.lookahead import embed_batches, run_ahead, run_groups_ahead, split_batches


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_results_come_in_the_order_of_items(workers: int, limit: int) -> None:
    delays = random.Random(3)

    def work(n: int) -> int:
        time.sleep(delays.random() / 500)
        return n * n

    assert list(run_ahead(work, range(40), workers=workers, limit=limit)) == [
        n * n for n in range(40)
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_no_items_give_no_results(workers: int) -> None:
    assert list(run_ahead(str, [], workers=workers, limit=4)) == []


def test_items_are_processed_concurrently(
    no_decoding_threads: Callable[[], list[str]],
) -> None:
    together = threading.Barrier(3, timeout=10)
    results = run_ahead(lambda n: together.wait() >= 0, range(6), workers=3, limit=6)
    assert list(results) == [True] * 6


def test_at_most_limit_items_are_read_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(1_000):
            taken += 1
            yield n

    for done, _ in enumerate(run_ahead(str, items(), workers=2, limit=7), 1):
        assert taken <= done + 7
    assert taken == 1_000


def test_no_item_is_read_before_the_first_result_is_requested() -> None:
    def items() -> Iterator[int]:
        raise AssertionError("taken")
        yield 1

    run_ahead(str, items(), workers=2, limit=7)


def test_an_exception_of_work_is_raised_in_order(
    no_decoding_threads: Callable[[], list[str]],
) -> None:
    def work(n: int) -> int:
        return 10 // (3 - n)

    results = run_ahead(work, range(10), workers=2, limit=5)
    assert [next(results) for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert no_decoding_threads() == []


def test_an_exception_of_the_items_is_raised_in_order(
    no_decoding_threads: Callable[[], list[str]],
) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise KeyError("lost")

    results = run_ahead(str, items(), workers=2, limit=50)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(KeyError, match="lost"):
        next(results)
    assert no_decoding_threads() == []


def test_threads_end_when_the_consumer_stops_early(
    no_decoding_threads: Callable[[], list[str]],
) -> None:
    results = run_ahead(lambda n: n, range(1_000), workers=3, limit=20)
    next(results)
    assert no_decoding_threads()
    results.close()  # type: ignore[attr-defined]
    assert no_decoding_threads() == []


def test_items_not_started_are_never_processed() -> None:
    done = []

    def work(n: int) -> int:
        time.sleep(0.01)
        done.append(n)
        return n

    results = run_ahead(work, range(100), workers=1, limit=100)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(done) < 5


@given(st.lists(st.integers()), st.integers(1, 7))
def test_batches_hold_every_item_once_in_order(items: list[int], size: int) -> None:
    groups = list(split_batches(iter(items), size))
    assert [item for group in groups for item in group] == items
    assert all(len(group) == size for group in groups[:-1])
    assert all(groups)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.mark.parametrize("workers", [None, 0, 3])
@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_items_are_prepared_and_encoded_in_order(
    pool: ThreadPoolExecutor, workers: int | None, batch_size: int | None
) -> None:
    results = embed_batches(
        lambda n: n * 10, sum, range(100), batch_size=batch_size, workers=workers, pool=pool
    )

    found = list(results)

    assert sum(found) == 10 * sum(range(100))
    assert found == sorted(found) or found[:-1] == sorted(found[:-1])


def test_a_worker_prepares_and_encodes_its_own_batch(pool: ThreadPoolExecutor) -> None:
    def encode(batch: list[int]) -> bool:
        return set(batch) == {threading.get_ident()}

    found = list(embed_batches(lambda n: threading.get_ident(), encode, range(64), pool=pool))

    assert found == [True] * 8


def test_a_consumer_that_stops_early_leaves_no_work_in_the_pool(pool: ThreadPoolExecutor) -> None:
    done: list[int] = []
    results = embed_batches(done.append, len, range(10_000), batch_size=1, pool=pool)
    next(results)

    results.close()
    count = len(done)
    time.sleep(0.05)

    assert len(done) == count < 50


def test_an_error_in_the_pool_is_raised_in_order(pool: ThreadPoolExecutor) -> None:
    def prepare(n: int) -> int:
        if n == 3:
            raise KeyError(n)
        return n

    results = embed_batches(prepare, sum, range(6), batch_size=1, pool=pool)

    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="3"):
        next(results)


def test_a_pool_that_accepts_no_more_work_leaves_it_to_the_caller(pool: ThreadPoolExecutor) -> None:
    """As at the exit of the interpreter, in functions of atexit and daemon threads."""
    pool.shutdown()

    found = run_ahead(lambda number: 6 // number, [1, 2, 3, 0], workers=0, limit=2, pool=pool)

    assert [next(found), next(found), next(found)] == [6, 3, 2]
    with pytest.raises(ZeroDivisionError):
        next(found)


@given(count=st.integers(0, 40), size=st.integers(1, 9), limit=st.integers(1, 20))
@pytest.mark.parametrize("workers", [0, 2])
def test_groups_give_every_result_in_order(workers: int, count: int, size: int, limit: int) -> None:
    found = run_groups_ahead(str, range(count), size=size, workers=workers, limit=limit)

    assert list(found) == [str(n) for n in range(count)]


@pytest.mark.parametrize("stage", ["work", "items"])
def test_results_before_an_error_in_a_group_come_first(
    stage: str, no_decoding_threads: Callable[[], list[str]]
) -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        if stage == "items":
            raise KeyError(10)
        yield from range(10, 1000)

    def work(n: int) -> int:
        if stage == "work" and n == 10:
            raise KeyError(10)
        return n

    results, found = run_groups_ahead(work, items(), size=4, workers=2, limit=12), []
    with pytest.raises(KeyError):
        found.extend(results)

    assert found == list(range(10))


def test_groups_end_when_the_consumer_stops_early(
    no_decoding_threads: Callable[[], list[str]],
) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(10_000):
            taken += 1
            yield n

    results = run_groups_ahead(str, items(), size=4, workers=2, limit=12)
    for _ in range(5):
        next(results)
    results.close()

    assert taken <= 5 + 12 + 4
