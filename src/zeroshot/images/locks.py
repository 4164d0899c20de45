"""Locks for objects that two threads must not use at once, found by the object's address.

Pillow decodes an image when it is first used, and a file has one position. The same PIL image or
file given twice, as in `[image, image]`, would otherwise be decoded by two threads at once, which
crashes or gives mixed pixels. Neither kind of object can hold a lock of ours, hence the address.
It buys correctness, not speed: a lock costs 0.2 microseconds. It can be deleted if images are no
longer decoded on several threads.
"""

from __future__ import annotations

import threading

_LOCKS = [threading.Lock() for _ in range(64)]


def lock_of(thing: object) -> threading.Lock:
    """Return the lock of an object; objects at addresses far apart may share one."""
    return _LOCKS[id(thing) // 64 % len(_LOCKS)]
