"""Attention, in the way that is fastest for a precision on this processor.

torch's fused attention keeps scores in float32 and never whole in memory. For sequences as short as
CLIP's, on a core that multiplies bfloat16 by AVX512-BF16, its two products and a softmax one after
the other take two thirds of the time, and differ from float32 no more.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.device import cpu_has

SCORES = 2**20  # written out at once: more would leave a core's cache


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mix values [b, h, u, d] as queries [b, h, t, d] match keys [b, h, u, d]: [b, t, h * d].

    `mask` is True where a query sees a key, alike for all heads: [t, u] or [b, 1, t, u].
    """
    if not is_written_out(q.dtype):
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)
    b, h, t, d = q.shape
    some = max(1, SCORES // (b * t * k.shape[2]))  # heads
    hidden = None if mask is None else ~mask
    mixed = q.new_empty(b, t, h, d)
    for first in range(0, h, some):
        heads = slice(first, first + some)
        scores = (q[:, heads] @ k[:, heads].transpose(2, 3)).mul_(d**-0.5)
        if hidden is not None:
            scores.masked_fill_(hidden, -torch.inf)
        mixed[:, :, heads] = (scores.softmax(dim=-1) @ v[:, heads]).transpose(1, 2)
    return mixed.flatten(2)


def is_written_out(dtype: torch.dtype) -> bool:
    """Say whether plain steps are faster here than torch's fused attention, as was measured.

    With AMX the fused one multiplies by it, without either torch multiplies bfloat16 slowly, and
    several threads would wait for one another after each step.
    """
    if dtype != torch.bfloat16 or torch.get_num_threads() > 1:
        return False
    return cpu_has("AVX512-BF16") and not cpu_has("AMX")
