"""Convert embeddings and logits that a user passes, and reject other values."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from zeroshot.errors import InputError


def to_embeddings(given: object, width: int, what: str = "embeddings") -> Tensor:
    """Return embeddings of any real type as a float32 tensor [n, d] or [d].

    Raises InputError for other types and dimensions.
    """
    tensor = to_float(given)
    if tensor is None or tensor.ndim > 2 or tensor.shape[-1:] != (width,):
        raise InputError(
            f"expected {what} as a tensor or an array [n, {width}], got {kind_of(given)}; "
            "use encode_image and encode_text to compute them"
        )
    return tensor


def to_logits(given: object, columns: int) -> Tensor:
    """Return logits of any real type as a float32 tensor [n, L] or [L]; raise InputError."""
    tensor = to_float(given)
    if tensor is None or tensor.shape[-1:] != (columns,):
        raise InputError(
            f"expected logits as a tensor or an array [n, {columns}], got {kind_of(given)}; "
            "use head.logits(embeddings) to compute them"
        )
    return tensor


def to_float(given: object) -> Tensor | None:
    """Return real numbers as a float32 tensor, and None for other values."""
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiu":
        return torch.from_numpy(given.astype(np.float32))
    return given.float() if is_dense(given) and not given.is_complex() else None


def is_dense(value: object) -> TypeGuard[Tensor]:
    """Return whether this is a tensor with a value in each place."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def kind_of(given: object) -> str:
    """Describe an argument in a message: its type, and its shape if it has one."""
    shape = getattr(given, "shape", None)
    kind = str(getattr(given, "dtype", type(given).__name__)).removeprefix("torch.")
    return f"{kind} {tuple(shape)}" if isinstance(shape, tuple) else kind
