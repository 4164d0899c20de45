"""A pre-norm transformer block, rewritten to do less and to do it at once.

QuickGELU is x sigmoid(1.702 x), which is silu(1.702 x) / 1.702: with 1.702 folded into the first
map of the MLP and its inverse into the second it becomes the silu that oneDNN can fuse. Residuals
are added inside the linear maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.engine.linear import Fused, Linear, Scratch
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


class FastBlock(ABC):
    """What every block has, from the plain one; made with the values of one map at a time."""

    def __init__(
        self,
        block: Block,
        activation: Activation,
        dtype: torch.dtype,
        filled: Filled,
        scratch: Scratch,
    ) -> None:
        first, second = block.mlp.c_fc, block.mlp.c_proj
        self.heads, self.width = block.attn.heads, block.attn.out_proj.in_features
        linear = partial(Linear, dtype=dtype, scratch=scratch)
        with filled(block.ln_1), filled(block.ln_2):
            self.ln_1, self.ln_2 = Norm(block.ln_1, dtype), Norm(block.ln_2, dtype)
        with filled(block.attn):
            self.project(block.attn.in_proj_weight, block.attn.in_proj_bias, linear)
            self.out = linear(block.attn.out_proj.weight, block.attn.out_proj.bias)
        fold = QUICK_GELU if activation == "quick_gelu" else 1.0
        with filled(first):
            bias = first.bias * fold
            self.fc1 = linear(first.weight, bias, fused=FUSED[activation], scale=fold)
        with filled(second):
            self.fc2 = linear(second.weight, second.bias, scale=1 / fold)

    @abstractmethod
    def project(self, weight: Tensor, bias: Tensor, linear: Callable[..., Linear]) -> None:
        """Keep maps to queries, keys and values, which are `self.width` rows each."""

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

    def project(self, weight: Tensor, bias: Tensor, linear: Callable[..., Linear]) -> None:
        """Map to all three at once."""
        self.qkv = linear(weight, bias)


class LastBlock(FastBlock):
    """The last block: few places are read, so queries are few, but all keys and values count."""

    def project(self, weight: Tensor, bias: Tensor, linear: Callable[..., Linear]) -> None:
        """Map to queries apart."""
        self.query = linear(weight[: self.width], bias[: self.width])
        self.keys = linear(weight[self.width :], bias[self.width :])  # and values


def fast_blocks(
    transformer: Transformer, activation: Activation, dtype: torch.dtype, filled: Filled
) -> tuple[list[InnerBlock], LastBlock]:
    """Rewrite a stack of blocks."""
    *plain, final = (block for block in transformer.resblocks if isinstance(block, Block))
    scratch = Scratch()
    inner = [InnerBlock(block, activation, dtype, filled, scratch) for block in plain]
    return inner, LastBlock(final, activation, dtype, filled, scratch)
