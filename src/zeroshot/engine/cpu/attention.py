"""Attention, in the way that is fastest for a precision on this processor.

torch's fused attention keeps scores in float32 and never whole in memory. For sequences as short as
CLIP's, on a core that multiplies bfloat16 by AVX512-BF16, its two products and a softmax one after
the other take two thirds of the time. They round the scores to bfloat16, but the embeddings are no
farther from those of float32 (benchmarks/attention.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.device import cpu_has

SCORES = 2**20  # worked on at once, if a head has no more: others would leave a core's cache


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mix values [b, h, u, d] as queries [b, h, t, d] match keys [b, h, u, d]: [b, t, h * d].

    `mask` is True where a query sees a key, alike for all heads: [t, u] or [b, 1, t, u].
    """
    if not is_written_out(q.dtype):
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)
    b, h, t, d = q.shape
    u = k.shape[2]
    at_once = max(1, SCORES // max(1, b * t * u))  # heads
    hidden = None if mask is None else ~mask
    mixed = q.new_empty(b, t, h, d)
    for first in range(0, h, at_once):
        heads = slice(first, min(first + at_once, h))
        n = heads.stop - first
        queries, keys, values = (part[:, heads].flatten(0, 1) for part in (q, k, v))
        scores = torch.bmm(queries, keys.mT).mul_(d**-0.5)
        if hidden is not None:
            scores.view(b, n, t, u).masked_fill_(hidden, -torch.inf)
        found = torch.bmm(scores.softmax(dim=-1), values)
        mixed[:, :, heads] = found.view(b, n, t, d).transpose(1, 2)
    return mixed.flatten(2)


def is_written_out(dtype: torch.dtype) -> bool:
    """Say whether plain steps are faster here than torch's fused attention, as was measured.

    With AMX the fused one multiplies by it, and without either torch multiplies bfloat16 slowly.
    One image alone would gain nothing, but shall get the embedding that it has among others.
    """
    return dtype == torch.bfloat16 and cpu_has("AVX512-BF16") and not cpu_has("AMX")
