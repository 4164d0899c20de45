"""Arrange texts in batches so that common prefixes are computed once.

Prompts are merged into prefix trees. A prefix that many trees would repeat is computed separately,
and its keys and values are reused. Heads of 80 templates x 3 to 30 labels run 1.7 to 2.0 times as
fast as without sharing (benchmarks/beginnings.py). This module can be deleted: each text would then
be its own tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from zeroshot.engine.backend import Row

TOKENS = 1024  # per micro-batch, approximately
TREE = 64  # target for the tokens per tree; attention computes all pairs of them, even masked
ALONE = 256  # total tokens up to which all texts form one tree, on which all cores work
REPEATED = 64  # repeated tokens in trees from which a prefix is computed separately
PADDED = 1.25  # limit for a micro-batch with padding, in multiples of its share of tokens


@dataclass
class Tree:
    """Texts merged into a prefix tree: each common prefix is stored once.

    Tokens are in preorder: after a token come all texts that continue from it, one after another.
    """

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)  # number of preceding tokens of its text
    ends: list[int] = field(default_factory=list)  # positions of the last tokens of texts
    texts: list[int] = field(default_factory=list)  # indices of these texts among all

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, row: Row, shared: int, text: int) -> None:
        """Add a text that shares its first `shared` tokens with the previous one."""
        self.tokens += row[shared:]
        self.depths += range(shared, len(row))
        self.ends.append(len(self.tokens) - 1)
        self.texts.append(text)


@dataclass(frozen=True)
class Batch:
    """Texts with one common prefix that run together; their trees contain the rest."""

    prefix: Row
    trees: list[Tree]

    def __len__(self) -> int:
        """Return the number of tokens, including padding."""
        return len(self.trees) * max(map(len, self.trees))

    @property
    def texts(self) -> list[int]:
        """Indices of these texts among all."""
        return [text for tree in self.trees for text in tree.texts]


def plan(rows: Sequence[Row], workers: int = 1) -> list[Batch]:
    """Arrange distinct texts in micro-batches by common prefix.

    There are some micro-batches for each worker.
    """
    if not rows:
        return []
    order = sorted(range(len(rows)), key=rows.__getitem__)
    tokens = sum(
        len(row) - _common_prefix(before, row)
        for before, row in pairwise([Row(), *(rows[text] for text in order)])
    )
    if tokens <= ALONE:
        return [Batch(Row(), list(_build_trees(rows, order, 0, ALONE)))]
    parts = workers * -(-tokens // (workers * TOKENS))
    batches: list[Batch] = []
    for prefix, texts in _split_groups(rows, order, 0):
        trees = sorted(_build_trees(rows, texts, len(prefix), TREE), key=len)
        count = max(1, round(sum(map(len, trees)) * parts / tokens))
        batches += (Batch(prefix, run) for run in _split_runs(trees, count))
    return sorted(batches, key=len, reverse=True)  # the largest first, so it does not finish last


def _split_runs(trees: Sequence[Tree], count: int) -> Iterator[list[Tree]]:
    """Split trees into about `count` runs with equal numbers of tokens.

    Trees are sorted, shortest first.
    """
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


def _build_trees(
    rows: Sequence[Row], texts: Sequence[int], depth: int, limit: int
) -> Iterator[Tree]:
    """Merge sorted texts, after their first `depth` tokens, into trees.

    A tree has at most `limit` tokens, unless one text has more.
    """
    tree, before = Tree(), Row()
    for text in texts:
        row = rows[text][depth:]
        shared = _common_prefix(before, row)
        if tree.tokens and len(tree) + len(row) - shared > limit:
            yield tree
            tree, shared = Tree(), 0
        tree.add(row, shared, text)
        before = row
    yield tree


def _common_prefix(one: Row, other: Row) -> int:
    """Return the length of the common prefix of two rows."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _split_groups(
    rows: Sequence[Row], texts: Sequence[int], depth: int
) -> Iterator[tuple[Row, list[int]]]:
    """Yield (common prefix, the texts that have it), each text once.

    All `texts`, which are sorted, share their first `depth` tokens. No text is left empty.
    """
    rest: list[int] = []
    for _, group in groupby(texts, lambda text: rows[text][depth]):
        members = list(group)
        shared = _common_prefix(
            rows[members[0]], rows[members[-1]]
        )  # shorter than each text: the end token differs
        if len(members) > 1 and _estimate_repeats(rows, members, depth, shared) >= REPEATED:
            yield from _split_groups(rows, members, shared)
        else:
            rest += members
    if rest:
        yield rows[rest[0]][:depth], rest


def _estimate_repeats(rows: Sequence[Row], texts: Sequence[int], depth: int, shared: int) -> float:
    """Estimate the cost of repeating a prefix in each tree.

    Returns how many positions of trees the tokens from `depth` to `shared` would take.
    """
    others = sum(len(rows[text]) - shared for text in texts)
    remaining = max(
        TREE - (shared - depth), others / len(texts)
    )  # tokens left in a tree beside them
    return (shared - depth) * others / remaining
