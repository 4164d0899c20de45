"""A pre-norm transformer block, rewritten to do less and to do it at once.

QuickGELU is x sigmoid(1.702 x), which is silu(1.702 x) / 1.702: with 1.702 folded into the first
map of the MLP and its inverse into the second it becomes the silu that oneDNN can fuse. Residuals
are added inside the linear maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.engine.linear import Fused, Linear
from zeroshot.nn.config import Activation
from zeroshot.nn.layers import Block, Transformer

QUICK_GELU = 1.702
FUSED: dict[Activation, Fused] = {"quick_gelu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_tanh"}


class Filled(Protocol):
    """Gives a module float32 values while it is rewritten, all but those of `but`."""

    def __call__(
        self, module: nn.Module, but: nn.Module | None = None
    ) -> AbstractContextManager[None]: ...


@contextmanager
def in_memory(module: nn.Module, but: nn.Module | None = None) -> Iterator[None]:
    """Take a module that has its values already; they stay."""
    module.float()
    yield


class Norm:
    """LayerNorm with its weights in the precision of the tower."""

    def __init__(self, norm: torch.nn.LayerNorm, dtype: torch.dtype) -> None:
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.weight, self.bias = norm.weight.to(dtype), norm.bias.to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class FastBlock:
    """What every block has, from the plain one."""

    def __init__(self, block: Block, activation: Activation, dtype: torch.dtype) -> None:
        width = block.attn.out_proj.in_features
        self.heads, self.width = block.attn.heads, width
        self.ln_1, self.ln_2 = Norm(block.ln_1, dtype), Norm(block.ln_2, dtype)
        self.out = Linear(block.attn.out_proj.weight, block.attn.out_proj.bias, dtype)
        fold = QUICK_GELU if activation == "quick_gelu" else 1.0
        first, second = block.mlp.c_fc, block.mlp.c_proj
        self.fc1 = Linear(first.weight, first.bias * fold, dtype, FUSED[activation], scale=fold)
        self.fc2 = Linear(second.weight, second.bias, dtype, scale=1 / fold)

    def heads_first(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Split [b, t, parts * w] into `parts` tensors [b, h, t, w/h]."""
        b, t, _ = x.shape
        split = x.view(b, t, parts, self.heads, self.width // self.heads)
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add attention's answer and the MLP's to the residual x: all [b, t, w]."""
        x = self.out.add_to(x, attended)
        return self.fc2.add_to(x, self.fc1(self.ln_2(x)))


class InnerBlock(FastBlock):
    """A block whose every place is read by the next one."""

    def __init__(self, block: Block, activation: Activation, dtype: torch.dtype) -> None:
        super().__init__(block, activation, dtype)
        self.qkv = Linear(block.attn.in_proj_weight, block.attn.in_proj_bias, dtype)


class LastBlock(FastBlock):
    """The last block: few places are read, so queries are few, but all keys and values count."""

    def __init__(self, block: Block, activation: Activation, dtype: torch.dtype) -> None:
        super().__init__(block, activation, dtype)
        weight, bias, width = block.attn.in_proj_weight, block.attn.in_proj_bias, self.width
        self.query = Linear(weight[:width], bias[:width], dtype)
        self.keys = Linear(weight[width:], bias[width:], dtype)  # and values


def fast_blocks(
    transformer: Transformer, activation: Activation, dtype: torch.dtype, filled: Filled
) -> tuple[list[InnerBlock], LastBlock]:
    """Rewrite a stack of blocks, with the values of one at a time."""
    *plain, final = (block for block in transformer.resblocks if isinstance(block, Block))
    inner: list[InnerBlock] = []
    for block in plain:
        with filled(block):
            inner.append(InnerBlock(block, activation, dtype))
    with filled(final):
        return inner, LastBlock(final, activation, dtype)
