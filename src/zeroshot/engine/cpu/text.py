"""The text transformer for a CPU: nothing is computed twice, and nothing that is not read.

Attention is causal, so what a token becomes depends on what stands before it alone. That makes
four savings exact: texts run at their true length, equal texts once, what texts begin with alike
once, and the last layer for the end-of-text place only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.backend import Row, Values
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.blocks import Norm, fast_blocks
from zeroshot.engine.cpu.linear import Linear
from zeroshot.engine.cpu.prefix_trees import Batch
from zeroshot.spec import TextConfig

CPU = torch.device("cpu")  # said each time, as a caller may have set another default
KeysValues = tuple[Tensor, Tensor]  # of one layer: each [1, h, p, w/h]


class FastTextTransformer:
    """Token rows become embeddings [b, d]; equal to the plain tower but for rounding."""

    def __init__(self, config: TextConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype, self.width = dtype, config.width
        self.tokens = values["token_embedding.weight"]
        self.positions = values["positional_embedding"].to(dtype, copy=True)
        self.ln_final = Norm(values.of("ln_final"), config.eps, dtype)
        self.proj = Linear(values["text_projection"].T, None, dtype)
        values.release()
        self.blocks, self.last = fast_blocks(config, values.of("transformer.resblocks"), dtype)

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Look up tokens at their positions: [b, t] each, gives [b, t, w]."""
        # looked up in the precision of the file, so that the table is never copied
        return F.embedding(tokens, self.tokens).to(self.dtype) + self.positions[positions]

    def prefix(self, row: Row) -> list[KeysValues]:
        """Compute the keys and values of a shared beginning, for every layer."""
        if not row:
            heads = self.last.heads
            nothing = torch.empty(1, heads, 0, self.width // heads, dtype=self.dtype, device=CPU)
            return [(nothing, nothing)] * (len(self.blocks) + 1)
        positions = torch.arange(len(row), device=CPU)
        x = self.embed(torch.tensor([row], dtype=torch.long, device=CPU), positions)
        mask = _mask(positions.unsqueeze(0), 0)
        kept: list[KeysValues] = []
        for block in self.blocks:
            q, k, v = block.heads_first(block.qkv(block.ln_1(x)), 3)
            kept.append((k, v))
            x = block.finish(x, attend(q, k, v, mask))
        k, v = self.last.heads_first(self.last.keys(self.last.ln_1(x)), 2)
        return [*kept, (k, v)]

    def run(self, batch: Batch, kept: Sequence[KeysValues]) -> Tensor:
        """Embed the texts of a batch, given what `prefix` computed: [texts, d]."""
        start = len(batch.prefix)
        tokens = _padded([tree.tokens for tree in batch.trees])  # [b, t]
        depths = _padded([tree.depths for tree in batch.trees])
        mask = _mask(depths, start)
        x = self.embed(tokens, start + depths)
        for block, before in zip(self.blocks, kept, strict=False):  # kept: the last's too
            q, k, v = block.heads_first(block.qkv(block.ln_1(x)), 3)
            k, v = _after(before, k, v)
            x = block.finish(x, attend(q, k, v, mask))
        ends = _padded([tree.ends for tree in batch.trees])  # [b, e], of which some are no text's
        counts = torch.tensor([len(tree.ends) for tree in batch.trees], device=CPU)
        real = torch.arange(ends.shape[1], device=CPU) < counts.unsqueeze(1)
        where = torch.arange(len(ends), device=CPU).unsqueeze(1), ends
        normed = self.last.ln_1(x)
        k, v = self.last.heads_first(self.last.keys(normed), 2)
        k, v = _after(kept[-1], k, v)
        q = self.last.heads_first(self.last.query(normed[where]), 1)[0]  # [b, h, e, w/h]
        attended = attend(q, k, v, mask[:, 0][where].unsqueeze(1))
        x = self.last.finish(x[where][real], attended[real])  # [texts, w]
        return self.proj(self.ln_final(x))


def _padded(rows: Sequence[list[int]]) -> Tensor:
    """Put rows below one another, filled up with zeros."""
    length = max(map(len, rows))
    return torch.tensor([row + [0] * (length - len(row)) for row in rows], device=CPU)


def _mask(depths: Tensor, start: int) -> Tensor:
    """Say which keys each place sees: the prefix, what its text has before it, and itself.

    Of places at depths [b, t], after a prefix of `start` tokens: [b, 1, t, start + t].
    """
    b, t = depths.shape
    ahead = torch.ones(t, t, dtype=torch.bool, device=CPU).triu(1)
    # A place is seen by those after it, until one stands no deeper than it does.
    least = depths.unsqueeze(1).masked_fill(~ahead, t).cummin(dim=2).values  # [b, seen, seeing]
    own = (least > depths.unsqueeze(2)).mT.tril()
    prefix = torch.ones(b, t, start, dtype=torch.bool, device=CPU)
    return torch.cat([prefix, own], dim=2).unsqueeze(1)


def _after(before: KeysValues, k: Tensor, v: Tensor) -> KeysValues:
    """Put the prefix's keys and values before each tree's own."""
    if not before[0].shape[2]:
        return k, v
    first, second = (part.expand(len(k), -1, -1, -1) for part in before)
    return torch.cat([first, k], dim=2), torch.cat([second, v], dim=2)
