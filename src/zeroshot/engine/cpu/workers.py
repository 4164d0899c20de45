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
    try:
        results = workers.map(work, tasks)  # which hands all tasks over at once
    except RuntimeError:  # the interpreter shuts down, and executors take no more
        return [work(task) for task in tasks]
    return list(results)


def pool() -> ThreadPoolExecutor | None:
    """Return the workers, started on first use, or None where one thread is all there is."""
    global _pool
    wanted = count()
    if wanted < 2:
        return None
    with _lock:
        if _pool is None:
            try:
                _pool = _started(wanted)
            except RuntimeError:  # no more threads for this process: do the work without
                return None
        return _pool


def become() -> None:
    """Make the calling thread a worker: torch on one core from now on."""
    _local.worker = True
    # At its first question about threads, or first work, torch sets a thread's number to that of
    # the whole process, which would undo what is set before.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _started(wanted: int) -> ThreadPoolExecutor:
    ready = threading.Barrier(wanted + 1)

    def start() -> None:
        become()
        ready.wait()

    pool = ThreadPoolExecutor(wanted, "zeroshot-worker", initializer=start)
    try:
        for _ in range(wanted):
            pool.submit(bool)
        ready.wait()
    except BaseException:
        ready.abort()  # lest those that did start wait for ever
        pool.shutdown(wait=False)
        raise
    # `set_num_threads` in a worker also changes what threads started later begin with; saying
    # the caller's own number again undoes that.
    torch.set_num_threads(torch.get_num_threads())
    return pool


def _after_fork() -> None:
    """Do without threads in a forked child: neither the pool's nor torch's own exist there."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
