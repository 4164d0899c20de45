"""Run a text transformer on a CPU without repeated or unused computations.

The last layer runs only for the token that is projected, and equal texts run once. If attention is
causal, the state of a token depends only on the tokens before it, which makes two more
optimizations exact: texts run at their own length, and common prefixes run once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zeroshot.engine.backend import Row, Values
from zeroshot.engine.cpu import workers
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.blocks import Norm, build_blocks
from zeroshot.engine.cpu.linear import Linear
from zeroshot.engine.cpu.prefix_trees import Batch, plan
from zeroshot.spec import TextConfig

TOKENS = 1024  # per micro-batch of texts of full length
CPU = torch.device("cpu")  # always passed, because the caller may have set another default
Run = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
KeysValues = tuple[Tensor, Tensor]  # of one layer: each [1, h, p, w/h]


class _TextTransformer:
    """The values of a text transformer, and what both ways to run it share."""

    def __init__(self, config: TextConfig, values: Values, dtype: torch.dtype) -> None:
        self.config, self.dtype = config, dtype
        self.look_up = partial(values.rows, "token_embedding.weight")
        self.positions = values["positional_embedding"].to(dtype, copy=True)
        self.ln_final = Norm(values.of("ln_final"), config.eps, dtype)
        self.proj = _build_projection(config, values, dtype)
        values.release()
        self.blocks, self.last = build_blocks(config, values.of("transformer.resblocks"), dtype)

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Look up tokens [b, t] and positions [t] or [b, t]: [b, t, w]."""
        return self.look_up(tokens).to(self.dtype) + self.positions[positions]

    def project(self, pooled: Tensor) -> Tensor:
        """Normalize pooled tokens and map them to the shared space: [b, w] to [b, d]."""
        x = self.ln_final(pooled)
        return x if self.proj is None else self.proj(x)


class FastTextTransformer(_TextTransformer):
    """Embed token rows as [b, d]; equal to the plain tower except for rounding."""

    def embed_rows(self, rows: Sequence[Row], run: Run) -> Iterator[tuple[list[int], Tensor]]:
        """Yield indices of distinct texts and their embeddings: float32 [texts, d].

        `run` distributes work over the workers.
        """
        batches = plan(rows, workers.count())
        prefixes = list({batch.prefix: None for batch in batches})
        kept = dict(zip(prefixes, run(self.compute_prefix, prefixes), strict=True))
        parts = run(lambda batch: self.run(batch, kept[batch.prefix]).float(), batches)
        for batch, part in zip(batches, parts, strict=True):
            yield batch.texts, part

    def compute_prefix(self, row: Row) -> list[KeysValues]:
        """Compute the keys and values of a common prefix, for every layer."""
        if not row:
            heads, width = self.config.heads, self.config.width
            nothing = torch.empty(1, heads, 0, width // heads, dtype=self.dtype, device=CPU)
            return [(nothing, nothing)] * (len(self.blocks) + 1)
        positions = torch.arange(len(row), device=CPU)
        x = self.embed(torch.tensor([row], dtype=torch.long, device=CPU), positions)
        mask = _build_mask(positions.unsqueeze(0), 0)
        kept: list[KeysValues] = []
        for block in self.blocks:
            q, k, v = block.split_heads(block.qkv(block.ln_1(x)), 3)
            kept.append((k, v))
            x = block.finish(x, attend(q, k, v, mask))
        k, v = self.last.split_heads(self.last.keys(self.last.ln_1(x)), 2)
        return [*kept, (k, v)]

    def run(self, batch: Batch, kept: Sequence[KeysValues]) -> Tensor:
        """Embed the texts of a batch, given the result of `compute_prefix`: [texts, d]."""
        start = len(batch.prefix)
        tokens = _pad([tree.tokens for tree in batch.trees])  # [b, t]
        depths = _pad([tree.depths for tree in batch.trees])
        mask = _build_mask(depths, start)
        x = self.embed(tokens, start + depths)
        for block, before in zip(
            self.blocks, kept, strict=False
        ):  # kept also has those of the last block
            q, k, v = block.split_heads(block.qkv(block.ln_1(x)), 3)
            k, v = _prepend(before, k, v)
            x = block.finish(x, attend(q, k, v, mask))
        ends = _pad([tree.ends for tree in batch.trees])  # [b, e], with padding
        counts = torch.tensor([len(tree.ends) for tree in batch.trees], device=CPU)
        real = torch.arange(ends.shape[1], device=CPU) < counts.unsqueeze(1)
        where = torch.arange(len(ends), device=CPU).unsqueeze(1), ends
        normed = self.last.ln_1(x)
        k, v = self.last.split_heads(self.last.keys(normed), 2)
        k, v = _prepend(kept[-1], k, v)
        q = self.last.split_heads(self.last.query(normed[where]), 1)[0]  # [b, h, e, w/h]
        attended = attend(q, k, v, mask[:, 0][where].unsqueeze(1))
        return self.project(self.last.finish(x[where][real], attended[real]))  # [texts, d]


class FullTextTransformer(_TextTransformer):
    """Embed texts of full length, in which each token attends to all, padding included.

    The last layer runs only for the token that is projected.
    """

    def embed_rows(self, rows: Sequence[Row], run: Run) -> Iterator[tuple[list[int], Tensor]]:
        """Yield indices of distinct texts and their embeddings: float32 [texts, d].

        `run` distributes work over the workers.
        """
        size = max(1, TOKENS // len(self.positions))
        starts = range(0, len(rows), size)
        batches = [list(range(start, min(start + size, len(rows)))) for start in starts]
        parts = run(lambda texts: self.run([rows[n] for n in texts]).float(), batches)
        yield from zip(batches, parts, strict=True)

    def run(self, rows: Sequence[Row]) -> Tensor:
        """Embed texts of equal length: [texts, d]."""
        ids = torch.tensor(rows, device=CPU)
        x = self.embed(ids, torch.arange(ids.shape[1], device=CPU))
        for block in self.blocks:
            x = block(x)
        pooled_id = self.config.pooled_id
        if pooled_id is None:
            places = torch.full((len(ids),), ids.shape[1] - 1, device=CPU)
        else:
            places = (ids == pooled_id).int().argmax(dim=1)
        return self.project(self.last.at(x, places))


def build_text_tower(config: TextConfig, values: Values, dtype: torch.dtype) -> Any:
    """Rewrite a text transformer; only a causal one can share prefixes."""
    kind = FastTextTransformer if config.causal else FullTextTransformer
    return kind(config, values, dtype)


def _build_projection(config: TextConfig, values: Values, dtype: torch.dtype) -> Linear | None:
    """Rewrite the map to the shared space; None without one."""
    if config.projection == "none":
        return None
    bias = values["text_projection_bias"] if config.projection == "biased" else None
    return Linear(values["text_projection"].T, bias, dtype)


def _pad(rows: Sequence[list[int]]) -> Tensor:
    """Stack rows, padded with zeros."""
    length = max(map(len, rows))
    return torch.tensor([row + [0] * (length - len(row)) for row in rows], device=CPU)


def _build_mask(depths: Tensor, start: int) -> Tensor:
    """Build the attention mask.

    Each position attends to the prefix, its own text and itself. For positions at `depths` [b, t]
    after a prefix of `start` tokens: bool [b, 1, t, start + t].
    """
    b, t = depths.shape
    ahead = torch.ones(t, t, dtype=torch.bool, device=CPU).triu(1)
    # A position is visible to those after it, up to the first that is not deeper.
    least = depths.unsqueeze(1).masked_fill(~ahead, t).cummin(dim=2).values  # [b, seen, seeing]
    own = (least > depths.unsqueeze(2)).mT.tril()
    prefix = torch.ones(b, t, start, dtype=torch.bool, device=CPU)
    return torch.cat([prefix, own], dim=2).unsqueeze(1)


def _prepend(before: KeysValues, k: Tensor, v: Tensor) -> KeysValues:
    """Prepend the prefix's keys and values to those of each tree."""
    if not before[0].shape[2]:
        return k, v
    first, second = (part.expand(len(k), -1, -1, -1) for part in before)
    return torch.cat([first, k], dim=2), torch.cat([second, v], dim=2)
