"""Items become results in order, worked on ahead of the consumer by a few threads.

Threads, not processes: Pillow and torch release the interpreter lock while they work, and a
forked process hangs once torch has been used. Work in flight is bounded, and the threads end with
the generator, also when the consumer stops early.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from zeroshot.machine import cores

Item = TypeVar("Item")
Pixels = TypeVar("Pixels")
Result = TypeVar("Result")

STOP_SECONDS = 5.0  # how long a consumer that stops early waits for work in flight
SMALL_BATCH = 8  # items that one worker prepares and encodes at a time
LARGE_BATCH = 32  # items encoded at a time when threads prepare them ahead


def ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    limit: int,
    pool: Executor | None = None,
) -> Iterator[Result]:
    """Yield work(item) in the order of items, at most `limit` of them in flight or waiting.

    The work is done in `pool`, or on `workers` threads that end with the generator. An exception
    that work, or the iterator of items, raises is raised here in its turn.
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
                waiting.append(threads.submit(work, item))
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
        # A generator that nobody finished may be closed by the garbage collector, in any thread,
        # a worker's own or a forked child's among them: wait only where it cannot be for oneself.
        at_home = owner == (os.getpid(), threading.get_ident())
        if at_home:
            wait(waiting, timeout=STOP_SECONDS)
        if threads is not pool:
            threads.shutdown(wait=False, cancel_futures=True)
            if at_home:
                _join(threads)


def _join(threads: Executor) -> None:
    """Wait for the threads of a pool that was shut down, but not for ever."""
    for thread in getattr(threads, "_threads", ()):
        thread.join(STOP_SECONDS)


def embedded(
    prepare: Callable[[Item], Pixels],
    encode: Callable[[list[Pixels]], Result],
    items: Iterable[Item],
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    pool: Executor | None = None,
) -> Iterator[Result]:
    """Prepare items one by one and encode them a batch at a time, in order.

    With a `pool` (of an encoder that runs on the CPU) a batch is prepared and encoded by the same
    worker, so every core is busy all the time. Without one, or where `workers` says how many
    threads to use, items are prepared ahead on threads and encoded by the consumer's own.
    """
    if pool is not None and workers is None:
        yield from ahead(
            lambda batch: encode([prepare(item) for item in batch]),
            batches(items, batch_size or SMALL_BATCH),
            workers=0,
            limit=2 * cores(),
            pool=pool,
        )
        return
    size = batch_size or LARGE_BATCH
    threads = cores() if workers is None else workers
    for batch in batches(ahead(prepare, items, workers=threads, limit=2 * size), size):
        yield encode(batch)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Group items into lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
