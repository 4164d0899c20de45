"""Files mapped into memory, and the tensors that lie in them.

What is read of a mapped file counts as memory of this process until it is let go of; it comes
back from the file when it is read again. So a checkpoint can be read a layer at a time.
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
    """What the file or files of a checkpoint hold."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    maps: tuple[mmap.mmap, ...] = ()


def map_file(path: Path) -> mmap.mmap:
    """Map a file copy-on-write: torch wants writable memory; the file itself stays as it is."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def release(data: mmap.mmap) -> None:
    """Let the system take back the memory of what was read of a map that nobody wrote to."""
    if hasattr(mmap, "MADV_DONTNEED"):  # Windows has no such call, and trims by itself
        with suppress(OSError):  # of a process that locks its memory
            data.madvise(mmap.MADV_DONTNEED)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Lay tensors of one type, none empty, below one another: [n, ...].

    The system takes their memory back with the result; in the heap it would leave a hole for good,
    as packed weights come to lie behind it.
    """
    rows, size = sum(map(len, parts)), sum(part.nbytes for part in parts)
    if hasattr(mmap, "MAP_PRIVATE"):  # not on Windows, where nothing is shared with a fork either
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, size)
    whole = torch.frombuffer(memory, dtype=parts[0].dtype).view(rows, *parts[0].shape[1:])
    return torch.cat(tuple(parts), out=whole)
