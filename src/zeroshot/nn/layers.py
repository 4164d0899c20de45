"""Define activations, attention, and the residual block of both towers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.nn.rotary import Turns, rotate
from zeroshot.spec import Activation, BlockOptions

QUICK_GELU = 1.702  # slope of `quick_gelu`


def quick_gelu(x: Tensor) -> Tensor:
    """Approximate GELU by x * sigmoid(1.702 x).

    OpenAI's checkpoints were trained with it.
    """
    return x * torch.sigmoid(QUICK_GELU * x)


def gelu_tanh(x: Tensor) -> Tensor:
    """Approximate GELU by its tanh formula."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "silu": F.silu,
}
PLAIN = BlockOptions()


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values.

    With `norm_eps`, a LayerNorm is applied to the heads' output before it is projected.
    """

    def __init__(self, width: int, heads: int, norm_eps: float | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.ln = nn.Identity() if norm_eps is None else nn.LayerNorm(width, eps=norm_eps)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        turns: Turns | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Let tokens [b, t, w] attend to each other, where `mask` [b, 1, 1, t] is True."""
        b, t, w = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # [b, t, 3w]
        q, k, v = qkv.view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        if turns is not None:
            q, k = rotate(q, turns), rotate(k, turns)
        x = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)  # [b, h, t, w/h]
        x = self.out_proj(self.ln(x.transpose(1, 2).reshape(b, t, w)))
        return x


class MLP(nn.Module):
    """Two linear layers with the checkpoint's activation between them.

    If `gated`, the activation of a third layer, `c_gate`, multiplies the output of the first. With
    `norm_eps`, a LayerNorm is applied before the last layer.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        *,
        gated: bool = False,
        norm_eps: float | None = None,
    ) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_gate = nn.Linear(width, hidden) if gated else None
        self.ln = nn.Identity() if norm_eps is None else nn.LayerNorm(hidden, eps=norm_eps)
        self.c_proj = nn.Linear(hidden, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        value = self.c_fc(x)
        if self.c_gate is None:
            x = self.activation(value)
        else:
            x = self.activation(self.c_gate(x)) * value
        x = self.c_proj(self.ln(x))
        return x


class Block(nn.Module):
    """One residual layer: attention, then the MLP, each with a norm before or after it."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        activation: Activation,
        eps: float,
        options: BlockOptions = PLAIN,
    ) -> None:
        super().__init__()
        norm_eps = eps if options.inner_norm else None
        self.norms_output = options.block_norm == "output"
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, norm_eps)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, mlp_width, activation, gated=options.gated_mlp, norm_eps=norm_eps)

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        turns: Turns | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        if self.norms_output:
            x = x + self.ln_1(self.attn(x, causal=causal, turns=turns, mask=mask))
            x = x + self.ln_2(self.mlp(x))
            return x
        x = x + self.attn(self.ln_1(x), causal=causal, turns=turns, mask=mask)
        x = x + self.mlp(self.ln_2(x))
        return x


class Transformer(nn.Module):
    """A stack of blocks.

    `mask` [b, 1, 1, t] is False for tokens that no token attends to, which are padding.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        mlp_width: int,
        activation: Activation,
        eps: float,
        options: BlockOptions = PLAIN,
    ) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(
            Block(width, heads, mlp_width, activation, eps, options) for _ in range(layers)
        )

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        turns: Turns | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        for block in self.resblocks:
            x = block(x, causal=causal, turns=turns, mask=mask)
        return x


class AttentionPool(nn.Module):
    """A learned query attends to all tokens; an MLP with a residual follows (a MAP head).

    Source: `MAPHead` of google-research/big_vision (models/vit.py).
    """

    def __init__(
        self, width: int, heads: int, mlp_width: int, activation: Activation, eps: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.probe = nn.Parameter(torch.empty(width))
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.ln = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, mlp_width, activation)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        b, t, w = x.shape
        query_weight, weight = self.in_proj_weight.split([w, 2 * w])
        query_bias, bias = self.in_proj_bias.split([w, 2 * w])
        q = F.linear(self.probe, query_weight, query_bias).view(1, self.heads, 1, -1)
        both = F.linear(x, weight, bias).view(b, t, 2, self.heads, w // self.heads)
        k, v = both.permute(2, 0, 3, 1, 4)
        q = q.expand(b, -1, -1, -1)
        x = F.scaled_dot_product_attention(q, k, v, mask)  # [b, h, 1, w/h]
        x = self.out_proj(x.transpose(1, 2).reshape(b, w))
        x = x + self.mlp(self.ln(x))
        return x
