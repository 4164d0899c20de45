"""Rewrite parts of the plain modules so that a GPU runs fewer operations.

QuickGELU is x sigmoid(1.702 x), which equals silu(1.702 x) / 1.702. With 1.702 folded into the
first linear layer of the MLP and its inverse into the second, one kernel replaces three. Biases are
added by the matrix products of torch. Residuals are added by an operation of their own: a product
can add a bias or a residual, not both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.engine.backend import Values
from zeroshot.nn.layers import MLP, QUICK_GELU, Block, quick_gelu
from zeroshot.nn.rotary import Turns, rotate


def fold_activations(module: nn.Module, values: Values) -> None:
    """Fold the factors of QuickGELU into the linear layers of each MLP, in place.

    `values` are the float32 values of the module, so that a product is rounded once.
    """
    for name, part in module.named_modules():
        if not isinstance(part, MLP) or part.activation is not quick_gelu:
            continue
        if part.c_gate is not None or not isinstance(part.ln, nn.Identity):
            continue  # the factor of the second layer would pass a gate or a norm
        exact = values.of(name) if name else values
        with torch.no_grad():
            part.c_fc.weight.copy_(exact["c_fc.weight"] * QUICK_GELU)
            part.c_fc.bias.copy_(exact["c_fc.bias"] * QUICK_GELU)
            part.c_proj.weight.copy_(exact["c_proj.weight"] / QUICK_GELU)
        part.activation = F.silu
        values.release()


class PooledBlock(nn.Module):
    """The last block of a tower, for the only position of each input that is read.

    All positions have keys and values; queries, the projection and the MLP run for one.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(
        self,
        x: Tensor,
        *,
        places: Tensor | None = None,
        causal: bool = False,
        turns: Turns | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the output at `places` [b], by default at the first one: [b, t, w] to [b, 1, w].

        Rotary turns must leave these positions as they are, as they do the class token.
        """
        block, attn = self.block, self.block.attn
        b, t, w = x.shape
        where = None if places is None else (torch.arange(b, device=x.device), places)
        normed = x if block.norms_output else block.ln_1(x)
        weight, bias = attn.in_proj_weight, attn.in_proj_bias
        q = F.linear(_take(normed, where), weight[:w], bias[:w])  # [b, 1, w]
        both = F.linear(normed, weight[w:], bias[w:]).view(b, t, 2, attn.heads, w // attn.heads)
        k, v = both.permute(2, 0, 3, 1, 4).unbind(0)
        if turns is not None:
            k = rotate(k, turns)
        if causal and places is not None:
            seen = torch.arange(t, device=x.device) <= places[:, None]
            mask = seen[:, None, None]  # [b, 1, 1, t]
        q = q.view(b, 1, attn.heads, w // attn.heads).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, mask)  # [b, h, 1, w/h]
        attended = attn.out_proj(attn.ln(mixed.transpose(1, 2).reshape(b, 1, w)))
        x = _take(x, where)
        if block.norms_output:
            x = x + block.ln_1(attended)
            return x + block.ln_2(block.mlp(x))
        x = x + attended
        return x + block.mlp(block.ln_2(x))


def _take(x: Tensor, where: tuple[Tensor, Tensor] | None) -> Tensor:
    """Select one position of each input: [b, t, w] to [b, 1, w]."""
    return x[:, :1] if where is None else x[where][:, None]
