"""Map files into memory, and allocate memory that the system can reclaim.

Pages read from a mapped file count as memory of this process until they are released; they are read
from the file again on the next access. So a checkpoint can be read one layer at a time.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class Content:
    """The contents of the file or files of a checkpoint."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    maps: tuple[mmap.mmap, ...] = ()


def map_file(path: Path) -> mmap.mmap:
    """Map a file copy-on-write.

    torch requires writable memory; the file does not change.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def release(data: mmap.mmap) -> None:
    """Let the system reclaim the pages read from a map that was not written to."""
    if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which trims memory itself
        with suppress(OSError):  # fails in a process that locks its memory
            data.madvise(mmap.MADV_DONTNEED)


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate nonempty tensors of one dtype along the first dimension: [n, ...].

    The result has its own anonymous map, which the system reclaims when the result is freed. On the
    heap it would leave a permanent hole, because packed weights are allocated behind it.
    """
    rows, size = sum(map(len, parts)), sum(part.nbytes for part in parts)
    if hasattr(mmap, "MAP_PRIVATE"):  # not on Windows, which has no fork
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, size)
    whole = torch.frombuffer(memory, dtype=parts[0].dtype).view(rows, *parts[0].shape[1:])
    return torch.cat(tuple(parts), out=whole)
