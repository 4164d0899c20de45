"""Bound the bytes of images that were read from a stream but not used yet.

The items of a compressed archive contain their bytes, because a stream cannot go back. Threads take
items ahead, so a number of items would not bound the memory: a scan has 20 MB.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

LIMIT = 64 * 2**20  # bytes
PATIENCE = 0.2  # seconds

Content = TypeVar("Content")


class Budget:
    """Bytes that may be held at once.

    `take` waits for bytes to be given back. It does not wait for ever: a consumer that collects a
    batch of items before it reads the first of them would never give bytes back. After `patience`
    seconds without any progress the bytes are granted, and `take` does not wait again until bytes
    were given back. Then the memory is that of the items that the consumer collects.
    """

    def __init__(self, limit: int = LIMIT, patience: float = PATIENCE) -> None:
        self._limit, self._patience = limit, patience
        self._held = self._returns = 0
        self._is_stalled = False
        # Reentrant: the garbage collector may call `give` in a thread that is inside `take`.
        self._changed = threading.Condition(threading.RLock())

    @property
    def held(self) -> int:
        """Bytes that were taken and not given back."""
        return self._held

    def take(self, size: int) -> None:
        """Take bytes, and wait if the limit is exceeded; one image may exceed it alone."""
        with self._changed:
            while self._held and self._held + size > self._limit and not self._is_stalled:
                before = self._returns
                self._changed.wait(self._patience)
                self._is_stalled = self._returns == before
            self._held += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._changed:
            self._held -= size
            self._returns += 1
            self._is_stalled = False
            self._changed.notify_all()


class Held(Generic[Content]):
    """Content that counts against a budget until it is read for the first time, or deleted."""

    __slots__ = ("_budget", "_get", "_lock", "_size")

    def __init__(self, get: Callable[[], Content], size: int, budget: Budget) -> None:
        self._get, self._size, self._budget = get, size, budget
        self._lock = threading.Lock()
        budget.take(size)

    def read(self) -> Content:
        """Return the content."""
        self._release()
        return self._get()

    def _release(self) -> None:
        with self._lock:
            size, self._size = self._size, 0
        if size:
            self._budget.give(size)

    def __del__(self) -> None:  # an item that nobody read, such as one of a canceled batch
        self._release()
