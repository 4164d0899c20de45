"""A lock that a forked child can use, even if a thread of the parent held it at the fork.

The thread that would release the lock does not exist in the child. A server that forks while
another thread builds a tower would otherwise hang at its first image.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet

_locks: WeakSet[ForkLock] = WeakSet()


class ForkLock:
    """A lock for `with`, unlocked in every forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


def _unlock_all() -> None:
    for lock in list(_locks):
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)
