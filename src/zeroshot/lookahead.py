"""Process items in order on a few threads, ahead of the consumer.

Threads, not processes: Pillow and torch release the global interpreter lock while they work, and a
forked process hangs once torch has been used. The number of items in flight is bounded. The
threads end with the generator, even if the consumer stops early.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from typing import TypeVar

from zeroshot.machine import cores

Item = TypeVar("Item")
Pixels = TypeVar("Pixels")
Result = TypeVar("Result")

STOP_SECONDS = 5.0  # timeout for work in flight when the consumer stops early
SMALL_BATCH = 8  # items that one worker prepares and encodes at once
LARGE_BATCH = 32  # items encoded at once when threads prepare them ahead


def run_ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    limit: int,
    pool: Executor | None = None,
) -> Generator[Result, None, None]:
    """Yield work(item) in the order of items, working ahead.

    At most `limit` items are in flight or waiting. The work runs in `pool`, or on `workers` threads
    that end with the generator. An exception from `work` or from the iterator of items is raised at
    its position in the order.
    """
    if workers <= 0 and pool is None:
        yield from map(work, items)
        return
    remaining = iter(items)
    owner = os.getpid(), threading.get_ident()
    threads = pool or ThreadPoolExecutor(workers, thread_name_prefix="zeroshot-decode")
    waiting: deque[Future[Result]] = deque()

    def submit(count: int) -> None:
        try:
            for item in islice(remaining, count):
                waiting.append(_start(threads, work, item))
        except Exception as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            waiting.append(failed)

    try:
        submit(limit)
        while waiting:
            result = waiting.popleft().result()
            submit(1)
            yield result
    finally:
        for future in waiting:
            future.cancel()
        # The garbage collector may close an unfinished generator in any thread, including a worker
        # or a forked child. Wait only in the owner's thread: a worker would wait for itself.
        in_owner = owner == (os.getpid(), threading.get_ident())
        if in_owner:
            wait(waiting, timeout=STOP_SECONDS)
        if threads is not pool:
            threads.shutdown(wait=False, cancel_futures=True)
            if in_owner:
                _join(threads)


def run_groups_ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    size: int,
    workers: int,
    limit: int,
    pool: Executor | None = None,
) -> Generator[Result, None, None]:
    """Yield what `run_ahead` does, with `size` items per task.

    A task costs about 10 microseconds of the interpreter lock, which matters from 10,000 items a
    second. `limit` is a number of items.
    """

    def work_on(group: list[Item]) -> tuple[list[Result], Exception | None]:
        results: list[Result] = []
        try:
            for item in group:
                results.append(work(item))
        except Exception as error:
            return results, error  # the results before the error come first
        return results, None

    groups = split_batches(items, size)
    ahead = max(1, limit // size)
    done = run_ahead(work_on, groups, workers=workers, limit=ahead, pool=pool)
    with closing(groups), closing(done):
        for results, error in done:
            yield from results
            if error is not None:
                raise error


def _start(threads: Executor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """Start work(item) on a thread, or do it now if threads accept no more work."""
    try:
        return threads.submit(work, item)
    except RuntimeError:  # the interpreter is shutting down, or the system has no more threads
        done: Future[Result] = Future()
        try:
            done.set_result(work(item))
        except Exception as error:
            done.set_exception(error)
        return done


def _join(threads: Executor) -> None:
    """Wait for the threads of a pool that was shut down, with a timeout."""
    for thread in getattr(threads, "_threads", ()):
        thread.join(STOP_SECONDS)


def embed_batches(
    prepare: Callable[[Item], Pixels],
    encode: Callable[[list[Pixels]], Result],
    items: Iterable[Item],
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    pool: Executor | None = None,
) -> Iterator[Result]:
    """Prepare items one by one and encode them in batches, in order.

    With a `pool` (from an encoder that runs on the CPU), one worker prepares and encodes a batch,
    so all cores stay busy. Without one, or if `workers` gives a number of threads, items are
    prepared ahead on threads and encoded in the consumer's thread.
    """
    if pool is not None and workers is None:
        yield from run_ahead(
            lambda batch: encode([prepare(item) for item in batch]),
            split_batches(items, batch_size or SMALL_BATCH),
            workers=0,
            limit=2 * cores(),
            pool=pool,
        )
        return
    size = batch_size or LARGE_BATCH
    threads = cores() if workers is None else workers
    prepared = run_ahead(prepare, items, workers=threads, limit=2 * size)
    with closing(prepared):  # the traceback of an error would keep its threads alive
        for batch in split_batches(prepared, size):
            yield encode(batch)


def split_batches(items: Iterable[Item], size: int) -> Generator[list[Item], None, None]:
    """Group items into lists of `size`; the last may be shorter."""
    batch: list[Item] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                full, batch = batch, []
                yield full
    except Exception:
        if batch:
            yield batch  # the items before the error come first
        raise
    if batch:
        yield batch
