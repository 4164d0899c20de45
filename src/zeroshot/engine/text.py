"""The text transformer for a CPU: nothing is computed twice, and nothing that is not read.

Attention is causal, so what a token becomes depends on what stands before it alone. That makes
four savings exact: texts run at their true length, equal texts once, what texts begin with alike
once, and the last layer for the end-of-text place only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.attention import attend
from zeroshot.engine.blocks import Filled, Norm, fast_blocks, in_memory
from zeroshot.engine.linear import Linear
from zeroshot.nn.config import TextConfig
from zeroshot.nn.text_transformer import TextTransformer

TOKENS = 1024  # of a micro-batch, about
TREE = 64  # tokens that a tree should have at most; its places look at each other, seen or not
ALONE = 256  # tokens of all texts up to which they make one tree, which all cores work on at once
REPEATED = 64  # tokens in trees that must stand for the same to be worth computing apart
PADDED = 1.25  # times the tokens it should have, that a micro-batch may have with its padding

CPU = torch.device("cpu")  # said each time, as a caller may have set another default
KeysValues = tuple[Tensor, Tensor]  # of one layer: each [1, h, p, w/h]
Row = tuple[int, ...]


@dataclass
class Tree:
    """Texts laid over one another: what they begin with alike stands there once.

    Tokens stand in preorder: after a token all texts that go on from it, one after the other.
    """

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)  # how many tokens of its text stand before
    ends: list[int] = field(default_factory=list)  # places of the last tokens of texts
    texts: list[int] = field(default_factory=list)  # which those are, among all

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, row: Row, shared: int, text: int) -> None:
        """Add a text that begins with `shared` tokens of the one before it."""
        self.tokens += row[shared:]
        self.depths += range(shared, len(row))
        self.ends.append(len(self.tokens) - 1)
        self.texts.append(text)


@dataclass(frozen=True)
class Batch:
    """Texts that begin with one prefix, to be run together; their trees hold what follows it."""

    prefix: Row
    trees: list[Tree]

    def __len__(self) -> int:
        """Count tokens, padding included."""
        return len(self.trees) * max(map(len, self.trees))

    @property
    def texts(self) -> list[int]:
        """Which texts these are, among all."""
        return [text for tree in self.trees for text in tree.texts]


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


def plan(rows: Sequence[Row], workers: int = 1) -> list[Batch]:
    """Arrange distinct texts in micro-batches by what they begin with, some for each worker."""
    if not rows:
        return []
    order = sorted(range(len(rows)), key=rows.__getitem__)
    tokens = sum(
        len(row) - _alike(before, row)
        for before, row in pairwise([Row(), *(rows[text] for text in order)])
    )
    if tokens <= ALONE:
        return [Batch(Row(), list(_trees(rows, order, 0, ALONE)))]
    parts = workers * -(-tokens // (workers * TOKENS))
    batches: list[Batch] = []
    for prefix, texts in _groups(rows, order, 0):
        trees = sorted(_trees(rows, texts, len(prefix), TREE), key=len)
        count = max(1, round(sum(map(len, trees)) * parts / tokens))
        batches += (Batch(prefix, run) for run in _cut(trees, count))
    return sorted(batches, key=len, reverse=True)  # the largest first, lest it ends alone


def _cut(trees: Sequence[Tree], count: int) -> Iterator[list[Tree]]:
    """Cut trees, shortest first, into about `count` runs of as many tokens each."""
    share, size, done = sum(map(len, trees)) / count, 0, 0
    run: list[Tree] = []
    for tree in trees:
        if run and (len(run) + 1) * len(tree) > PADDED * share:
            yield run
            run = []
        run.append(tree)
        size += len(tree)
        if size >= share * (done + 1):
            yield run
            run, done = [], int(size / share)
    if run:
        yield run


def _trees(rows: Sequence[Row], texts: Sequence[int], depth: int, most: int) -> Iterator[Tree]:
    """Lay sorted texts, after their first `depth` tokens, into trees of `most` tokens or fewer."""
    tree, before = Tree(), Row()
    for text in texts:
        row = rows[text][depth:]
        shared = _alike(before, row)
        if tree.tokens and len(tree) + len(row) - shared > most:
            yield tree
            tree, shared = Tree(), 0
        tree.add(row, shared, text)
        before = row
    yield tree


def _alike(one: Row, other: Row) -> int:
    """Count the tokens that two rows begin with alike."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _groups(
    rows: Sequence[Row], texts: Sequence[int], depth: int
) -> Iterator[tuple[Row, list[int]]]:
    """Yield (shared beginning, the texts that have it); every text once, none left empty.

    All `texts`, which are sorted, share their first `depth` tokens.
    """
    rest: list[int] = []
    for _, group in groupby(texts, lambda text: rows[text][depth]):
        alike = list(group)
        shared = _alike(rows[alike[0]], rows[alike[-1]])  # never all of a text: its end differs
        if len(alike) > 1 and _repeated(rows, alike, depth, shared) >= REPEATED:
            yield from _groups(rows, alike, shared)
        else:
            rest += alike
    if rest:
        yield rows[rest[0]][:depth], rest


def _repeated(rows: Sequence[Row], texts: Sequence[int], depth: int, shared: int) -> float:
    """Estimate in how many places of trees the tokens from `depth` to `shared` would stand."""
    others = sum(len(rows[text]) - shared for text in texts)
    room = max(TREE - (shared - depth), others / len(texts))  # of a tree, beside them
    return (shared - depth) * others / room
