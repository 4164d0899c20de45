"""Provide locks, by address, for objects that two threads must not use at once.

Pillow decodes an image on first use, and a file has one position. If the same PIL image or file is
given twice, as in `[image, image]`, two threads would decode it at once, which crashes or mixes
pixels. Neither object type can store a lock, so locks are selected by address. This module ensures
correctness, not speed: a lock costs 0.2 microseconds. It can be deleted if images are no longer
decoded on several threads.
"""

from __future__ import annotations

import os
import threading

_LOCKS = [threading.Lock() for _ in range(64)]


def get_lock(thing: object) -> threading.Lock:
    """Return the lock for an object; distant addresses may share one."""
    return _LOCKS[id(thing) // 64 % len(_LOCKS)]


def _unlock_all() -> None:
    """Unlock in a forked child, where the threads that hold locks do not exist."""
    _LOCKS[:] = [threading.Lock() for _ in _LOCKS]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)
