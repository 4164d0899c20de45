"""Items become results in order, worked on ahead of the consumer by a few threads.

Threads, not processes: Pillow and torch release the interpreter lock while they work, and a
forked process hangs once torch has been used. Work in flight is bounded, and the threads end with
the generator, also when the consumer stops early.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Count the processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, limit: int
) -> Iterator[Result]:
    """Yield work(item) in the order of items, at most `limit` of them in flight or waiting.

    An exception that work raises is raised here, in its turn.
    """
    if workers <= 0:
        yield from map(work, items)
        return
    remaining = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="zeroshot-decode")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in islice(remaining, limit):
            waiting.append(pool.submit(work, item))
        while waiting:
            result = waiting.popleft().result()
            for item in islice(remaining, 1):
                waiting.append(pool.submit(work, item))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Group items into lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
