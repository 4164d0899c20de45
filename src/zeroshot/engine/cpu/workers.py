"""Run one worker thread per core, each with single-threaded torch.

Two independent single-threaded multiplications use two cores better than one that is split over
both. Threads, not processes: a forked process hangs once torch has been used. The caller's torch
settings do not change.
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
    """Return the number of workers, which is torch's number of threads."""
    return 1 if is_worker() else torch.get_num_threads()


def is_worker() -> bool:
    """Return whether this thread is a worker, whose torch uses one core."""
    return getattr(_local, "worker", False)


def run(work: Callable[[Task], Result], tasks: Sequence[Task], *, least: int = 2) -> list[Result]:
    """Return work(task) for every task, in order.

    Fewer than `least` tasks run in the caller's thread, with all its cores.
    """
    workers = get_pool() if len(tasks) >= least else None
    if workers is None:
        return [work(task) for task in tasks]
    try:
        results = workers.map(work, tasks)  # submits all tasks at once
    except RuntimeError:  # the interpreter is shutting down, executors accept no tasks
        return [work(task) for task in tasks]
    return list(results)


def get_pool() -> ThreadPoolExecutor | None:
    """Return the workers, started on first use.

    Returns None if only one thread is available.
    """
    global _pool
    size = count()
    if size < 2:
        return None
    with _lock:
        if _pool is None:
            try:
                _pool = _start(size)
            except RuntimeError:  # no more threads for this process: work without them
                return None
        return _pool


def become_worker() -> None:
    """Make the calling thread a worker: its torch uses one core from now on."""
    _local.worker = True
    # On its first query or operation, torch sets a thread's number of threads to that of the
    # process, which would override an earlier setting. So query first.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _start(size: int) -> ThreadPoolExecutor:
    """Start the threads of a pool and wait until all are workers."""
    ready = threading.Barrier(size + 1)

    def start() -> None:
        become_worker()
        ready.wait()

    pool = ThreadPoolExecutor(size, "zeroshot-worker", initializer=start)
    try:
        for _ in range(size):
            pool.submit(bool)
        ready.wait()
    except BaseException:
        ready.abort()  # releases the threads that did start
        pool.shutdown(wait=False)
        raise
    # `set_num_threads` in a worker also changes the initial value of threads started later;
    # setting the caller's own number again restores it.
    torch.set_num_threads(torch.get_num_threads())
    return pool


def _after_fork() -> None:
    """Use no threads in a forked child.

    The threads of the pool and of torch do not exist there.
    """
    global _pool, _lock
    _pool, _lock = None, threading.Lock()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
