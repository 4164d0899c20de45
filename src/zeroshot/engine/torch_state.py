"""Set the torch state that towers run in.

It is inference mode, no autocast, and float32 without TF32. These are settings of a thread or of
the process that belong to the caller, so they apply only while a tower runs and are restored
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from zeroshot.engine.fork_lock import ForkLock


@contextmanager
def inference(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Enable inference mode and disable the caller's autocast in this block.

    In float32, CUDA matrix products and convolutions use float32: TF32 has 10 mantissa bits, which
    changes the embeddings of RN50 to a cosine of 0.9997.
    """
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        if device.type == "cpu":
            yield
            return
        with torch.autocast(device.type, enabled=False), _without_tf32(dtype):
            yield


@contextmanager
def _without_tf32(dtype: torch.dtype) -> Iterator[None]:
    if dtype != torch.float32:
        yield
        return
    with _tf32_off:
        yield


class _Tf32Off:
    """Turn TF32 off while at least one thread is inside, then restore the caller's settings.

    The settings belong to the process. If each thread restored what it found, the last one could
    restore the setting of another thread instead of the caller's.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._inside = 0
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._restore = _turn_tf32_off()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._restore is not None:
                self._restore()


def _turn_tf32_off() -> Callable[[], None]:
    """Turn TF32 off; return a function that restores the settings.

    torch 2.9 has new settings, and the old ones cannot be read once a caller used the new ones.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    try:
        before = cudnn.allow_tf32, matmul.allow_tf32
    except RuntimeError:
        parts: tuple[Any, ...] = (cudnn.conv, matmul)  # type: ignore[attr-defined,unused-ignore]
        precisions = [part.fp32_precision for part in parts]
        for part in parts:
            part.fp32_precision = "ieee"

        def restore_new() -> None:
            for part, precision in zip(parts, precisions, strict=True):
                part.fp32_precision = precision

        return restore_new
    cudnn.allow_tf32, matmul.allow_tf32 = False, False

    def restore() -> None:
        cudnn.allow_tf32, matmul.allow_tf32 = before

    return restore


_tf32_off = _Tf32Off()
