"""Set the torch state that towers run in.

It is inference mode, no autocast, and float32 without TF32. These are settings of a thread or of
the process that belong to the caller, so they apply only while a tower runs and are restored
afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32, matmul.allow_tf32 = False, False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
