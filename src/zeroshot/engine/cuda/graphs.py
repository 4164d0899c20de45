"""Keep CUDA graphs for small batches, whose operations take less time than their launches.

A graph replays the operations of a function for one shape. It is captured only for shapes that
occur repeatedly, and only a limited number of graphs is kept.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Hashable

import torch
from torch import Tensor

from zeroshot.engine.cuda.runtime import Run, Runtime
from zeroshot.engine.fork_lock import ForkLock

LARGEST = 32  # inputs in a batch; larger ones keep the device busy without graphs
WARM_UP = 2  # calls of a shape before its graph is captured
GRAPHS = 48  # graphs kept: all batch sizes of images, and some shapes of texts
COUNTED = 1024  # shapes whose calls are counted

log = logging.getLogger("zeroshot")


class Graphs:
    """Graphs by name and shape; the least recently used one is dropped."""

    def __init__(self, runtime: Runtime, most: int = GRAPHS) -> None:
        self._runtime, self._most = runtime, most
        self._lock = ForkLock()  # replays share memory, so one is started at a time
        self._calls: OrderedDict[Hashable, int] = OrderedDict()
        self._replays: OrderedDict[Hashable, Run | None] = OrderedDict()  # None: run directly

    def run(self, name: Hashable, function: Run, given: Tensor) -> Tensor:
        """Return function(given), by a graph if there is one.

        `function` must do the same operations whenever name, shape and dtype are the same.
        """
        if not self._runtime.captures or not 1 <= len(given) <= LARGEST:
            return function(given)
        key = name, given.shape, given.dtype
        with self._lock:
            if not self._is_warm(key):
                replay = None
            elif key in self._replays:
                self._replays.move_to_end(key)
                replay = self._replays[key]
            else:
                replay = self._capture(key, function, given)
            if replay is not None:
                return replay(given)
        return function(given)

    def _is_warm(self, key: Hashable) -> bool:
        """Count a call; return whether there were enough before."""
        calls = self._calls.pop(key, 0)
        self._calls[key] = calls + 1
        if len(self._calls) > COUNTED:
            self._calls.popitem(last=False)
        return calls >= WARM_UP

    def _capture(self, key: Hashable, function: Run, given: Tensor) -> Run | None:
        """Capture and keep a graph; None if its operations cannot be captured."""
        if len(self._replays) >= self._most:
            self._runtime.finish_replays()
            self._replays.popitem(last=False)
        replay: Run | None = None
        try:
            replay = self._runtime.capture(function, given)
        except torch.OutOfMemoryError:
            log.debug("no memory for a CUDA graph of %s", key)
        except RuntimeError as error:
            log.debug("no CUDA graph of %s: %s", key, error)
        self._replays[key] = replay
        return replay
