"""Linear layers with packed weights and a fused activation or residual.

oneDNN multiplies faster when the weight matrix has its own memory layout, and can apply an
activation or add the residual while the result is in registers. torch offers both as private
operators. They are tested first; if they are missing or wrong, `F.linear` is used.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Fused = Literal["none", "silu", "gelu", "gelu_tanh", "relu"]
# activation -> names in torch's private operators: attribute, algorithm
POST_OPERATIONS: dict[Fused, tuple[str, str]] = {
    "none": ("none", ""),
    "silu": ("swish", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}
ROWS = 400  # of a typical micro-batch; the packed layout also works for other counts
PIECE = 2**18  # values scaled at once, so that they are still in cache when they are rounded


def activate(x: Tensor, fused: Fused) -> Tensor:
    """Apply an activation with torch's public functions."""
    match fused:
        case "none":
            return x
        case "silu":
            return F.silu(x)
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "relu":
            return F.relu(x)


class Scratch:
    """A reusable buffer in which weights are rounded before they are packed.

    A separate buffer for each weight would leave holes between packed weights that stay unused.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0, device="cpu")

    def round(self, weight: Tensor, dtype: torch.dtype, scale: float) -> Tensor:
        """Return scale * weight in `dtype`; it is valid until the next call."""
        if self._memory.dtype != dtype or self._memory.numel() < weight.numel():
            self._memory = torch.empty(weight.numel(), dtype=dtype, device="cpu")
        target = self._memory[: weight.numel()].view(weight.shape)
        rows = max(1, PIECE // weight[0].numel())
        for part, values in zip(target.split(rows), weight.split(rows), strict=True):
            part.copy_(values if scale == 1.0 else values * scale)  # rounded after scaling
        return target


class Linear:
    """x @ (scale * weight).T + bias, with an optional activation or residual."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        fused: Fused = "none",
        *,
        scale: float = 1.0,
        scratch: Scratch | None = None,
    ) -> None:
        self.bias = None if bias is None else bias.to(dtype, copy=True)
        self.fused = fused
        self.packed = can_pack(dtype)
        if scratch is None or not self.packed:
            scratch = Scratch()  # separate: a weight that is not packed stays in it
        if weight.dtype != dtype or scale != 1.0:
            weight = scratch.round(weight, dtype, scale)
        weight = weight.contiguous()
        self.weight = (
            torch.ops.mkldnn._reorder_linear_weight(weight, ROWS) if self.packed else weight
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer: [..., in] to [..., out]."""
        if not self.packed:
            return activate(F.linear(x, self.weight, self.bias), self.fused)
        attribute, algorithm = POST_OPERATIONS[self.fused]
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, attribute, [], algorithm
        )
        return y

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return residual + self(x)."""
        if not self.packed:
            return residual + F.linear(x, self.weight, self.bias)
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, residual, self.weight, self.bias, "add"
        )
        return y


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether torch has the private operators and they are correct."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    generator = torch.Generator("cpu").manual_seed(0)
    x, weight = (
        torch.randn(8, 64, generator=generator, device="cpu", dtype=torch.float32).to(dtype)
        for _ in range(2)
    )
    bias = torch.randn(8, generator=generator, device="cpu", dtype=torch.float32).to(dtype)
    residual = torch.randn(8, 8, generator=generator, device="cpu", dtype=torch.float32).to(dtype)
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    try:
        operators = torch.ops.mkldnn
        packed = operators._reorder_linear_weight(weight, ROWS)
        plain = F.linear(x, weight, bias)
        for fused, (attribute, algorithm) in POST_OPERATIONS.items():
            y = operators._linear_pointwise(x, packed, bias, attribute, [], algorithm)
            if not torch.allclose(y, activate(plain, fused), atol=tolerance, rtol=tolerance):
                return False
        y = operators._linear_pointwise.binary(x, residual, packed, bias, "add")
        return torch.allclose(y, plain + residual, atol=tolerance, rtol=tolerance)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
