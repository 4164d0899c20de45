"""Rewrite a transformer block with fewer and fused operations.

QuickGELU is x sigmoid(1.702 x), which equals silu(1.702 x) / 1.702. With 1.702 folded into the
first linear layer of the MLP and its inverse into the second, it becomes the silu that oneDNN can
fuse. Residuals are added inside the linear layers. The gate of a gated MLP is not multiplied there,
which takes 1.0 to 1.1 times as long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.linear import Fused, Linear, Scratch
from zeroshot.nn.layers import QUICK_GELU
from zeroshot.nn.rotary import Turns
from zeroshot.spec import Activation, TextConfig, ViTConfig

FUSED: dict[Activation, Fused] = {
    "quick_gelu": "silu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "silu": "silu",
}


class Norm:
    """LayerNorm with weights in the precision of the tower."""

    def __init__(self, values: Values, eps: float, dtype: torch.dtype) -> None:
        # copied: float32 values may be views of a mapped file, whose pages are released
        self.weight = values["weight"].to(dtype, copy=True)
        self.bias = values["bias"].to(dtype, copy=True)
        self.shape, self.eps = list(self.weight.shape), eps

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize the last dimension."""
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class FastBlock(ABC):
    """Base of the blocks; it reads the values of one linear layer at a time."""

    def __init__(
        self,
        config: ViTConfig | TextConfig,
        values: Values,
        dtype: torch.dtype,
        scratch: Scratch,
        turns: Turns | None = None,
    ) -> None:
        self.heads, self.width = config.heads, config.width
        self.turns: Turns | None = None  # of the queries and keys of patches: each [p, 1, 1, w/h/2]
        options = config.block_options
        self.norms_output = options.block_norm == "output"
        linear = partial(Linear, dtype=dtype, scratch=scratch)
        self.ln_1 = Norm(values.of("ln_1"), config.eps, dtype)
        self.ln_2 = Norm(values.of("ln_2"), config.eps, dtype)
        attention, mlp = values.of("attn"), values.of("mlp")
        weight, bias = attention["in_proj_weight"], attention["in_proj_bias"]
        if turns is not None:
            cosines, sines = (part[:, None, None] for part in turns)
            self.turns = cosines, sines
            weight, bias = (separate_pairs(part, config.heads) for part in (weight, bias))
        self.project(weight, bias, linear)
        self.out = linear(attention["out_proj.weight"], attention["out_proj.bias"])
        values.release()
        self.inner_norms: tuple[Norm, Norm] | None = None  # of attention and MLP
        if options.inner_norm:
            norms = (Norm(part.of("ln"), config.eps, dtype) for part in (attention, mlp))
            self.inner_norms = (next(norms), next(norms))
        self.gate: Linear | None = None
        if options.gated_mlp:
            fused = FUSED[config.activation]
            self.gate = linear(mlp["c_gate.weight"], mlp["c_gate.bias"], fused=fused)
            self.fc1 = linear(mlp["c_fc.weight"], mlp["c_fc.bias"])
            self.fc2 = linear(mlp["c_proj.weight"], mlp["c_proj.bias"])
            values.release()
        else:
            self.fc1, self.fc2 = build_mlp(config.activation, mlp, dtype, scratch)

    @abstractmethod
    def project(self, weight: Tensor, bias: Tensor, linear: Callable[..., Linear]) -> None:
        """Store linear layers for queries, keys and values.

        The weight matrix has `self.width` rows for each of the three.
        """

    def split_heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Split [b, t, parts * w] into `parts` tensors [b, h, t, w/h]."""
        b, t, _ = x.shape
        split = x.view(b, t, parts, self.heads, self.width // self.heads)
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def turn(self, x: Tensor, parts: int) -> Tensor:
        """Rotate the patches in the first `parts` of several [b, t, w] side by side, in place."""
        if self.turns is None:
            return x
        cosines, sines = self.turns
        b, t, _ = x.shape
        split = x.view(b, t, -1, self.heads, 2, cosines.shape[-1])
        even, odd = split[:, t - len(cosines) :, :parts].unbind(-2)  # [b, p, parts, h, w/h/2]
        turned = (even * cosines).addcmul_(odd, sines, value=-1)
        odd.mul_(cosines).addcmul_(even, sines)
        even.copy_(turned)
        return x

    def normed(self, x: Tensor) -> Tensor:
        """Return the input of attention: [b, t, w] to [b, t, w]."""
        return x if self.norms_output else self.ln_1(x)

    def hidden(self, x: Tensor) -> Tensor:
        """Return what the last layer of the MLP reads: [b, t, w] to [b, t, mlp_width]."""
        x = self.fc1(x) if self.gate is None else self.gate(x).mul_(self.fc1(x))
        return x if self.inner_norms is None else self.inner_norms[1](x)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add attention's output and the MLP's output to the residual x: all [b, t, w]."""
        if self.inner_norms is not None:
            attended = self.inner_norms[0](attended)
        if self.norms_output:
            x = x + self.ln_1(self.out(attended))
            return x + self.ln_2(self.fc2(self.hidden(x)))
        x = self.out.add_to(x, attended)
        return self.fc2.add_to(x, self.hidden(self.ln_2(x)))


class InnerBlock(FastBlock):
    """A block of which every position is read."""

    def project(self, weight: Tensor, bias: Tensor, linear: Callable[..., Linear]) -> None:
        """Store one linear layer for queries, keys and values."""
        self.qkv = linear(weight, bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Let every position attend to every other: [b, t, w] to [b, t, w]."""
        q, k, v = self.split_heads(self.turn(self.qkv(self.normed(x)), 2), 3)
        return self.finish(x, attend(q, k, v))


class LastBlock(FastBlock):
    """The last block of a tower.

    Only a few positions need queries, but all need keys and values.
    """

    def project(self, weight: Tensor, bias: Tensor, linear: Callable[..., Linear]) -> None:
        """Store one linear layer for queries and one for keys and values."""
        self.query = linear(weight[: self.width], bias[: self.width])
        self.keys = linear(weight[self.width :], bias[self.width :])  # and values

    def first(self, x: Tensor) -> Tensor:
        """Compute the output of the first position only: [b, t, w] to [b, w]."""
        normed = self.normed(x)
        return self._finish_some(x[:, :1].contiguous(), normed[:, :1], normed)

    def at(self, x: Tensor, places: Tensor) -> Tensor:
        """Compute the output of one position of each text: [b, t, w] and [b] to [b, w]."""
        where, normed = (torch.arange(len(x), device=x.device), places), self.normed(x)
        return self._finish_some(x[where][:, None], normed[where][:, None], normed)

    def _finish_some(self, x: Tensor, chosen: Tensor, normed: Tensor) -> Tensor:
        """Let one position [b, 1, w] attend to all normed ones [b, t, w]: [b, w]."""
        q = self.split_heads(self.query(chosen), 1)[0]  # [b, h, 1, w/h]
        # only patches are rotated, so not the query, which is that of the class token
        k, v = self.split_heads(self.turn(self.keys(normed), 1), 2)
        return self.finish(x, attend(q, k, v))[:, 0]


def separate_pairs(values: Tensor, heads: int) -> Tensor:
    """Order rows of queries, keys and values [3w, ...]: in each head the even ones come first.

    Rotated pairs are then not neighbors, but in two blocks of memory. The scores of attention are
    the same. Values are not rotated and keep their order.
    """
    queries, keys, rest = values.chunk(3)
    pairs = (part.view(heads, -1, 2, *values.shape[1:]) for part in (queries, keys))
    return torch.cat([*(part.transpose(1, 2).flatten(0, 2) for part in pairs), rest])


def build_mlp(
    activation: Activation, values: Values, dtype: torch.dtype, scratch: Scratch
) -> tuple[Linear, Linear]:
    """Rewrite the two linear layers of an MLP, with the activation fused into the first."""
    fold = QUICK_GELU if activation == "quick_gelu" else 1.0
    fc1 = Linear(
        values["c_fc.weight"],
        values["c_fc.bias"] * fold,
        dtype=dtype,
        scratch=scratch,
        fused=FUSED[activation],
        scale=fold,
    )
    values.release()
    fc2 = Linear(
        values["c_proj.weight"], values["c_proj.bias"], dtype=dtype, scratch=scratch, scale=1 / fold
    )
    values.release()
    return fc1, fc2


def build_blocks(
    config: ViTConfig | TextConfig, values: Values, dtype: torch.dtype, turns: Turns | None = None
) -> tuple[list[InnerBlock], LastBlock]:
    """Rewrite a stack of blocks, of whose last only some positions are read."""
    *inner, last = [values.of(str(n)) for n in range(config.layers)]
    scratch = Scratch()
    blocks = [InnerBlock(config, each, dtype, scratch, turns) for each in inner]
    return blocks, LastBlock(config, last, dtype, scratch, turns)


def build_whole_blocks(
    config: ViTConfig | TextConfig, values: Values, dtype: torch.dtype, turns: Turns | None = None
) -> list[InnerBlock]:
    """Rewrite a stack of blocks, of whose last every position is read."""
    scratch = Scratch()
    parts = (values.of(str(n)) for n in range(config.layers))
    return [InnerBlock(config, part, dtype, scratch, turns) for part in parts]
