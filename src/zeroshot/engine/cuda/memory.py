"""Choose how many inputs run at once from the memory of the device.

When the device runs out of memory, the number is halved and remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from zeroshot.engine.cuda.runtime import Runtime
from zeroshot.errors import DeviceError

SHARE = 0.25  # of the free memory that one batch may take; two are embedded at once

log = logging.getLogger("zeroshot")


def count_that_fit(free: int | None, size: int, most: int) -> int:
    """Return how many inputs of `size` bytes run at once: 1 to `most`."""
    if free is None:
        return most
    return max(1, min(most, int(SHARE * free) // max(1, size)))


class Limit:
    """How many inputs run at once."""

    def __init__(self, runtime: Runtime, most: int, what: str) -> None:
        self.most = most
        self._runtime, self._what = runtime, what

    def run(
        self, count: int, batch_size: int | None, work: Callable[[slice], Tensor]
    ) -> list[Tensor]:
        """Return work(slice) for consecutive slices of 0..count, at least one.

        A slice has at most `batch_size` inputs. If the device runs out of memory, half as many are
        tried, then and in later calls. Raises DeviceError if one is too many.
        """
        parts: list[Tensor] = []
        start = 0
        while start < count or not parts:
            size = min(batch_size or self.most, self.most, max(1, count - start))
            part = self._try(work, slice(start, start + size))
            if part is None:  # outside of the except block, whose traceback holds tensors
                self._halve(size)
                continue
            parts.append(part)
            start += size
        return parts

    def _try(self, work: Callable[[slice], Tensor], part: slice) -> Tensor | None:
        try:
            return work(part)
        except torch.OutOfMemoryError:
            return None

    def _halve(self, size: int) -> None:
        """Remember that `size` inputs are too many."""
        if size == 1:
            raise DeviceError(
                f"out of memory: the device cannot run a batch of 1 {self._what}; "
                f"{self._runtime.describe_memory()}; close other programs that use it, or load "
                "the model with dtype='float16' or device='cpu'"
            )
        self.most = min(self.most, size // 2)
        log.warning("out of memory: %d %ss run at once from now on", self.most, self._what)
        self._runtime.release_memory()
