"""Pause garbage collection while many objects that are not garbage are created.

The collector would traverse all of them repeatedly. Measured on two cores: `import torch` takes
14% less time without it, encoding 80,000 prompts 44% less, and a command that imported torch
exits 0.5 s sooner without a final collection. Each function can be deleted without other effects.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FROZEN_AT_START = 1000  # objects, at most; Python 3.12 freezes 375 itself


@contextmanager
def paused() -> Iterator[None]:
    """Disable garbage collection in this block; keep it disabled if it already was."""
    pause = gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


@contextmanager
def paused_for_import() -> Iterator[None]:
    """Disable garbage collection while torch is imported, if that is safe.

    The collector is process-wide, so it stays enabled when other threads run or when the caller has
    changed its settings.
    """
    threading = sys.modules.get("threading")
    alone = threading is None or threading.active_count() == 1
    is_frozen = gc.get_freeze_count() > FROZEN_AT_START
    if "torch" in sys.modules or not alone or not gc.isenabled() or is_frozen:
        yield
        return
    with paused():
        yield
        # Freezing and unfreezing moves all objects to the oldest generation without a traversal.
        gc.freeze()
        gc.unfreeze()


def skip_at_exit() -> None:
    """Skip the final garbage collection when the process exits."""
    atexit.register(gc.freeze)
