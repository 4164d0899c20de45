"""Run one worker thread per core, each with single-threaded torch.

Two independent single-threaded multiplications use two cores better than one that is split over
both. Threads, not processes: a forked process hangs once torch has been used. The caller's torch
settings do not change.

A fork waits for the tasks that run: oneDNN locks its cache of operations for a moment in each of
them, and in the child a lock that another thread held would stay locked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

FORK_SECONDS = 5.0  # how long a fork waits for tasks

_local = threading.local()
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


class _Gate:
    """Counts the tasks that run, and holds new ones while a fork is under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._forks = 0

    def run(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return work(*arguments), after forks that are under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forks)
            self._running += 1
        try:
            return work(*arguments)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Hold new tasks, and wait for those that run, other than the caller's own."""
        with self._changed:
            self._forks += 1
            own = 1 if is_worker() else 0
            self._changed.wait_for(lambda: self._running <= own, FORK_SECONDS)

    def open(self) -> None:
        """Let tasks run again."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


_gate = _Gate()


class _Pool(ThreadPoolExecutor):
    """A pool whose tasks do not run during a fork."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(_gate.run, partial(fn, **kwargs), args)


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

    pool = _Pool(size, "zeroshot-worker", initializer=start)
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
    global _pool, _lock, _gate
    _pool, _lock, _gate = None, threading.Lock(), _Gate()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _gate.close(),
        after_in_parent=lambda: _gate.open(),
        after_in_child=_after_fork,
    )
