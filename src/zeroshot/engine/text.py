"""The text transformer for a CPU: nothing is computed twice, and nothing that is not read.

Attention is causal, so a token sees only what stands before it. That makes four savings exact:
texts run at their true length, equal texts once, the beginning that many texts share once (its
keys and values are kept), and the last layer for the end-of-text place only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.attention import attend
from zeroshot.engine.blocks import Filled, Norm, fast_blocks, in_memory
from zeroshot.engine.linear import Linear
from zeroshot.nn.config import TextConfig
from zeroshot.nn.text_transformer import TextTransformer

SHARED_BY = 128  # texts that must begin alike for their beginning to be worth computing apart
TOKENS = 2048  # of a micro-batch, padding included
SHORT = 8  # tokens up to which texts gain by being laid end to end
SEQUENCE = 32  # tokens that they should make together
FEW = 64  # texts that a micro-batch should have before it ends because the next text is longer

CPU = torch.device("cpu")  # said each time, as a caller may have set another default
KeysValues = tuple[Tensor, Tensor]  # of one layer: each [1, h, p, w/h]
Row = tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Texts that begin with one prefix, to be run together."""

    prefix: Row
    places: list[int]  # of the texts among all
    rows: list[Row]  # what follows the prefix, sorted by length


class FastTextTransformer:
    """Token rows become embeddings [b, d]; equal to the plain tower but for rounding."""

    def __init__(
        self,
        tower: TextTransformer,
        config: TextConfig,
        dtype: torch.dtype,
        filled: Filled = in_memory,
    ) -> None:
        self.dtype, self.width = dtype, config.width
        with filled(tower, but=tower.transformer):
            self.tokens = tower.token_embedding.weight
            self.positions = tower.positional_embedding.to(dtype)
            self.ln_final = Norm(tower.ln_final, dtype)
            self.proj = Linear(tower.text_projection.T, None, dtype)
        self.blocks, self.last = fast_blocks(tower.transformer, config.activation, dtype, filled)

    def embed(self, rows: Sequence[Row], start: int) -> Tensor:
        """Look up tokens that stand at positions from `start` on: [b, t, w]."""
        length = max(map(len, rows))
        ids = torch.tensor([row + (0,) * (length - len(row)) for row in rows], device=CPU)
        # looked up in the precision of the file, so that the table is never copied
        x = F.embedding(ids, self.tokens).to(self.dtype)
        return x + self.positions[start : start + length]

    def prefix(self, row: Row) -> list[KeysValues]:
        """Compute the keys and values of a shared beginning, for every layer."""
        x = self.embed([row], 0)
        mask = _mask(0, len(row), 1)
        kept: list[KeysValues] = []
        for block in self.blocks:
            q, k, v = block.heads_first(block.qkv(block.ln_1(x)), 3)
            kept.append((k, v))
            x = block.finish(x, attend(q, k, v, mask))
        k, v = self.last.heads_first(self.last.keys(self.last.ln_1(x)), 2)
        return [*kept, (k, v)]

    def run(self, rows: Sequence[Row], start: int, kept: list[KeysValues]) -> Tensor:
        """Embed rows that follow a prefix `start` tokens long: [b, d].

        A few short texts are laid end to end and attend together, each masked from the others:
        attention has a fixed cost a sequence, which for four tokens is most of it.
        """
        count, length = len(rows), max(map(len, rows))
        together = SEQUENCE // length if length <= SHORT else 1
        rows = [*rows, *[rows[-1]] * (-count % together)]  # filled up to whole sequences
        x = self.embed(rows, start).view(-1, together * length, self.width)  # [b/g, gt, w]
        mask = _mask(start, length, together)
        for block, before in zip(self.blocks, kept, strict=False):  # kept: the last's too
            q, k, v = block.heads_first(block.qkv(block.ln_1(x)), 3)
            k, v = _after(before, k, v)
            x = block.finish(x, attend(q, k, v, mask))
        ends = torch.tensor([len(row) - 1 for row in rows], device=CPU).view(-1, together)
        ends += length * torch.arange(together, device=CPU)  # [b/g, g], places in a sequence
        normed = self.last.ln_1(x)
        k, v = self.last.heads_first(self.last.keys(normed), 2)
        k, v = _after(kept[-1], k, v)
        where = torch.arange(len(ends), device=CPU).unsqueeze(1), ends
        q = self.last.heads_first(self.last.query(normed[where]), 1)[0]  # [b/g, h, g, w/h]
        attended = attend(q, k, v, mask[ends].unsqueeze(1))
        x = self.last.finish(x[where], attended).flatten(0, 1)  # [b, w]
        return self.proj(self.ln_final(x))[:count]


def _mask(start: int, length: int, together: int) -> Tensor:
    """Say which keys each place sees: the prefix, and its own text up to itself: [gt, p + gt]."""
    own = torch.ones(length, length, dtype=torch.bool, device=CPU).tril()
    apart = torch.eye(together, dtype=torch.bool, device=CPU)
    blocks = (apart[:, None, :, None] & own[None, :, None, :]).reshape(together * length, -1)
    prefix = torch.ones(len(blocks), start, dtype=torch.bool, device=CPU)
    return torch.cat([prefix, blocks], dim=1)


def _after(before: KeysValues, k: Tensor, v: Tensor) -> KeysValues:
    """Put the prefix's keys and values before each row's own."""
    rows = len(k)
    first, second = (part.expand(rows, -1, -1, -1) for part in before)
    return torch.cat([first, k], dim=2), torch.cat([second, v], dim=2)


def plan(rows: Sequence[Row]) -> list[Batch]:
    """Arrange texts in micro-batches by shared beginning and length."""
    batches: list[Batch] = []
    for prefix, places in _groups(rows, list(range(len(rows))), 1):
        places.sort(key=lambda place: len(rows[place]))
        own = [rows[place][len(prefix) :] for place in places]
        first = 0
        for last in range(1, len(own) + 1):
            longer = last < len(own) and len(own[last]) > len(own[last - 1])
            full = last < len(own) and (last - first + 1) * len(own[last]) > TOKENS
            if last == len(own) or full or (longer and last - first >= FEW):
                batches.append(Batch(prefix, places[first:last], own[first:last]))
                first = last
    return batches


def _groups(rows: Sequence[Row], places: list[int], depth: int) -> Iterator[tuple[Row, list[int]]]:
    """Yield (shared beginning, the texts that have it); every text once, none left empty.

    All `places` share their first `depth` tokens.
    """
    following: defaultdict[int, list[int]] = defaultdict(list)
    for place in places:
        if len(rows[place]) > depth + 1:  # the end token itself is never shared
            following[rows[place][depth]].append(place)
    moved: set[int] = set()
    for shared in following.values():
        if len(shared) >= SHARED_BY:
            moved.update(shared)
            yield from _groups(rows, shared, depth + 1)
    rest = [place for place in places if place not in moved]
    if rest:
        yield rows[rest[0]][:depth], rest
