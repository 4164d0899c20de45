"""Compute attention in the way that is fastest for a precision on this processor.

torch's fused attention keeps scores in float32 and never stores all of them. For sequences as short
as CLIP's, on a core that multiplies bfloat16 by AVX512-BF16, two matrix products with a softmax
between them take two thirds of that time. Whole encoders run 1.04 to 1.14 times as fast. This
rounds the scores to bfloat16, but the embeddings are as close to those of float32
(benchmarks/attention.py). The unfused path can be deleted: `attend` would always call the fused
operator.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.device import cpu_has

SCORES = 2**20  # values computed at once (at least one head), so that they fit a core's cache


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute attention.

    Queries [b, h, t, d], keys and values [b, h, u, d] give [b, t, h * d]. `mask` is True where a
    query attends to a key, the same for all heads: [t, u] or [b, 1, t, u].
    """
    if not is_unfused_faster(q.dtype):
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
        output = torch.bmm(scores.softmax(dim=-1), values)
        mixed[:, :, heads] = output.view(b, n, t, d).transpose(1, 2)
    return mixed.flatten(2)


@cache
def is_unfused_faster(dtype: torch.dtype) -> bool:
    """Return whether unfused attention was measured to be faster on this CPU.

    With AMX the fused operator uses AMX, and without both extensions torch multiplies bfloat16
    slowly. A single image would gain nothing, but uses the same path so that its embedding does not
    depend on the batch.
    """
    return dtype == torch.bfloat16 and cpu_has("AVX512-BF16") and not cpu_has("AMX")
