"""One worker thread a core, each running torch on that core alone.

Two independent one-thread multiplications keep two cores busier than one that is split over both.
Threads, never processes: a forked process hangs once torch has been used. The caller's own torch
settings stay as they are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

_local = threading.local()
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def count() -> int:
    """Count the workers: as many as the caller lets torch use threads."""
    return 1 if inside() else torch.get_num_threads()


def inside() -> bool:
    """Say whether this thread is a worker, whose torch uses one core only."""
    return getattr(_local, "worker", False)


def run(work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """Return work(task) for every task, in order; spread over the workers if that helps."""
    workers = pool() if len(tasks) > 1 else None
    if workers is None:
        return [work(task) for task in tasks]
    return list(workers.map(work, tasks))


def pool() -> ThreadPoolExecutor | None:
    """Return the workers, started on first use, or None where one thread is all there is."""
    return _workers(count()) if count() > 1 else None


def become() -> None:
    """Make the calling thread a worker: torch on one core from now on."""
    _local.worker = True
    torch.set_num_threads(1)


def _workers(wanted: int) -> ThreadPoolExecutor:
    """Return the process's pool, started on first use."""
    global _pool
    with _lock:
        if _pool is None:
            ready = threading.Barrier(wanted + 1)

            def start() -> None:
                become()
                ready.wait()

            pool = ThreadPoolExecutor(wanted, "zeroshot-worker", initializer=start)
            for _ in range(wanted):
                pool.submit(bool)
            ready.wait()
            # `set_num_threads` in a worker also changes what threads started later begin with;
            # saying the caller's own number again undoes that.
            torch.set_num_threads(torch.get_num_threads())
            _pool = pool
        return _pool


def _forget() -> None:
    """Drop the pool in a forked child, where its threads do not exist."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
