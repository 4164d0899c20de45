"""Copy pixels to the device through a small ring of pinned buffers.

The next rows are written to one buffer while the device reads another. The memory of the ring does
not depend on the batch size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.engine.cuda.runtime import Runtime, Wait

SLOTS = 4
SLOT_BYTES = 16 * 2**20  # more for a single row that is larger


class _Slot(NamedTuple):
    memory: Tensor | None  # pinned uint8 [size], allocated on first use
    wait: Wait | None  # until its last copy is done


class Staging:
    """A ring of pinned buffers, which threads may use at once."""

    def __init__(self, runtime: Runtime, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        self._runtime, self._slot_bytes = runtime, slot_bytes
        self._free: SimpleQueue[_Slot] = SimpleQueue()
        for _ in range(slots):
            self._free.put(_Slot(None, None))

    def upload(
        self, rows: Tensor | Sequence[NDArray[Any]], shape: tuple[int, ...] | None = None
    ) -> Tensor:
        """Copy a tensor [n, ...], or n arrays, to the device: [n, ...].

        Arrays have one shape, or are placed in the corners of rows of `shape`, whose rest is
        undefined.
        The copies run while the caller goes on. Only the later operations of this thread may use
        the result.
        """
        shape = tuple(rows[0].shape) if shape is None else shape
        dtype = rows.dtype if isinstance(rows, Tensor) else torch.from_numpy(rows[0][:0]).dtype
        target = self._runtime.allocate((len(rows), *shape), dtype)
        size = math.prod(shape) * dtype.itemsize
        at_once = max(1, self._slot_bytes // max(1, size))
        for first in range(0, len(rows), at_once):
            part = rows[first : first + at_once]
            self._copy(target[first : first + at_once], part, len(part) * size)
        self._runtime.receive(target)
        return target

    def _copy(self, target: Tensor, part: Tensor | Sequence[NDArray[Any]], size: int) -> None:
        """Write rows to the next free buffer and start to copy it."""
        memory, wait = self._free.get()
        try:
            if wait is not None:
                wait()
                wait = None
            if memory is None or len(memory) < size:
                memory = self._runtime.allocate_pinned(max(self._slot_bytes, size))
            staged = memory[:size].view(target.dtype).view(target.shape)
            if isinstance(part, Tensor):
                staged.copy_(part)
            elif all(row.shape == staged.shape[1:] for row in part):
                np.stack(part, out=staged.numpy())
            else:
                for place, row in zip(staged.numpy(), part, strict=True):
                    place[tuple(map(slice, row.shape))] = row
            wait = self._runtime.copy(target, staged)
        finally:
            self._free.put(_Slot(memory, wait))
