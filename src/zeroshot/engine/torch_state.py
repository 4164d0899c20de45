"""Set the torch state that towers run in.

It is inference mode, no autocast, and float32 without TF32. These are settings of a thread or of
the process that belong to the caller, so they apply only while a tower runs and are restored
afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from zeroshot.engine.fork_lock import ForkLock


@contextmanager
def inference(device: torch.device, dtype: torch.dtype, *, tf32: bool = False) -> Iterator[None]:
    """Enable inference mode and disable the caller's autocast in this block.

    In float32, CUDA matrix products and convolutions use float32 unless `tf32`: TF32 has 10
    mantissa bits, which changes the embeddings of RN50 to a cosine of 0.9997.
    """
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        if device.type == "cpu":
            yield
            return
        with torch.autocast(device.type, enabled=False):
            if dtype != torch.float32:
                yield
                return
            with _tf32.allow(tf32):
                yield


@contextmanager
def without_cudnn_attention(device: torch.device) -> Iterator[None]:
    """Compute attention without cuDNN in this block, if the device is a GPU.

    torch prefers cuDNN on Hopper GPUs, which prepares a plan for each shape: 0.13 s on an H200.
    Batches of texts have many shapes, and 80,000 prompts took 10 s in place of 1.3 s.
    """
    if device.type != "cuda":
        yield
        return
    with _cudnn_attention:
        yield


class _CudnnAttention:
    """Turn cuDNN's attention off while threads are inside, then restore the caller's setting."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._inside, self._before = 0, True

    def __enter__(self) -> None:
        cuda: Any = torch.backends.cuda
        with self._lock:
            if not self._inside:
                self._before = cuda.cudnn_sdp_enabled()
                cuda.enable_cudnn_sdp(False)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        cuda: Any = torch.backends.cuda
        with self._lock:
            self._inside -= 1
            if not self._inside:
                cuda.enable_cudnn_sdp(self._before)


class _Tf32:
    """Allow or forbid TF32 while threads are inside, then restore the caller's settings.

    The settings belong to the process. If each thread restored what it found, the last one could
    restore the setting of another thread instead of the caller's. TF32 is off while at least one
    thread forbids it.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._inside = {False: 0, True: 0}  # threads that forbid it, and that allow it
        self._settings = _Settings()

    @contextmanager
    def allow(self, allowed: bool) -> Iterator[None]:
        """Allow TF32 in this block, or forbid it."""
        with self._lock:
            if not any(self._inside.values()):
                self._settings = _read_settings()
            self._inside[allowed] += 1
            self._settings.set(not self._inside[False])
        try:
            yield
        finally:
            with self._lock:
                self._inside[allowed] -= 1
                if any(self._inside.values()):
                    self._settings.set(not self._inside[False])
                else:
                    self._settings.restore()


class _Settings:
    """Attributes of torch's backends, with the caller's values."""

    def __init__(
        self,
        parts: Sequence[Any] = (),
        name: str = "",
        values: tuple[Any, Any] = (False, True),
        before: Sequence[Any] = (),
    ) -> None:
        self._parts, self._name, self._values, self._before = parts, name, values, before

    def set(self, allowed: bool) -> None:
        """Allow TF32 or forbid it."""
        for part in self._parts:
            setattr(part, self._name, self._values[allowed])

    def restore(self) -> None:
        """Set the caller's values."""
        for part, value in zip(self._parts, self._before, strict=True):
            setattr(part, self._name, value)


def _read_settings() -> _Settings:
    """Read the settings of convolutions and matrix products.

    torch 2.9 has new ones, and the old ones cannot be read once a caller used the new ones.
    """
    backends: Any = torch.backends
    parts = backends.cudnn, backends.cuda.matmul
    try:
        return _Settings(parts, "allow_tf32", (False, True), [part.allow_tf32 for part in parts])
    except RuntimeError:
        parts, parents = (backends.cudnn.conv, backends.cuda.matmul), (backends.cudnn, backends)
    pairs = [
        (part.fp32_precision, parent.fp32_precision)
        for part, parent in zip(parts, parents, strict=True)
    ]
    # a value that is inherited must follow later changes of the parent again
    before = ["none" if value == inherited else value for value, inherited in pairs]
    return _Settings(parts, "fp32_precision", ("ieee", "tf32"), before)


_tf32 = _Tf32()
_cudnn_attention = _CudnnAttention()
