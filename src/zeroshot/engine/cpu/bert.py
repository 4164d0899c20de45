"""Run a BERT encoder on a CPU without computing padding.

The tokens of all texts of a micro-batch are stacked, so linear layers and norms compute no padding.
Texts are sorted by length, and attention runs for those of equal length at once, without a mask. If
only the first token is projected, the last layer runs only for it. 1,000 texts of 5 to 15 tokens
at the size of XLM-R base take 0.41 of the time of the plain module, whose batches are sorted by
length, and 0.29 of that of transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from zeroshot.engine.backend import Row, Values
from zeroshot.engine.cpu import workers
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.blocks import Norm, build_mlp
from zeroshot.engine.cpu.linear import Linear, Scratch
from zeroshot.engine.cpu.text import CPU, Run
from zeroshot.spec import BertConfig

TOKENS = 1024  # per micro-batch, approximately
ALONE = 256  # total tokens up to which all texts form one micro-batch, on which all cores work
Sizes = Sequence[tuple[int, int]]  # of groups of equal texts: number of texts, tokens per text


@dataclass(frozen=True)
class Batch:
    """Texts that run together, sorted by length."""

    texts: list[int]  # indices among all
    rows: list[Row]

    @property
    def sizes(self) -> Sizes:
        """The groups of texts of equal length."""
        return [(len(list(group)), length) for length, group in groupby(map(len, self.rows))]


class FastBert:
    """Embed token rows without padding as [b, d]; equal to the plain tower except for rounding."""

    def __init__(self, config: BertConfig, values: Values, dtype: torch.dtype) -> None:
        self.config, self.dtype = config, dtype
        self.look_up = partial(values.rows, "token_embedding.weight")
        first = config.first_position
        used = values["positional_embedding"][first : first + config.context_length]
        self.positions = (used + values["token_type_embedding"]).to(dtype)
        self.ln_embed = Norm(values.of("ln_embed"), config.eps, dtype)
        self.head = _build_head(config, values, dtype)
        values.release()
        scratch, count = Scratch(), config.layers
        self.blocks = [
            PostNormBlock(config, values.of(f"blocks.{n}"), dtype, scratch) for n in range(count)
        ]

    def embed_rows(self, rows: Sequence[Row], run: Run) -> Iterator[tuple[list[int], Tensor]]:
        """Yield indices of distinct texts and their embeddings: float32 [texts, d].

        `run` distributes work over the workers.
        """
        batches = plan(rows, workers.count())
        parts = run(lambda batch: self.run(batch).float(), batches)
        for batch, part in zip(batches, parts, strict=True):
            yield batch.texts, part

    def run(self, batch: Batch) -> Tensor:
        """Embed the texts of a batch: [texts, d]."""
        sizes = batch.sizes
        ids = torch.tensor([i for row in batch.rows for i in row], device=CPU)
        places = torch.cat([torch.arange(t, device=CPU).repeat(n) for n, t in sizes])
        # only these rows are read: XLM-R's table has 0.8 GB
        x = self.look_up(ids).to(self.dtype) + self.positions[places]
        x = self.ln_embed(x)  # [tokens, w]
        *inner, last = self.blocks
        for block in inner:
            x = block(x, sizes)
        if self.config.pool == "first":
            x = last.first(x, sizes)
        else:
            parts = last(x, sizes).split([n * t for n, t in sizes])
            pairs = zip(parts, sizes, strict=True)
            x = torch.cat([part.view(n, t, -1).mean(dim=1) for part, (n, t) in pairs])
        for layer in self.head:
            x = layer(x)
        return x


class PostNormBlock:
    """A block of BERT; see `nn.bert_transformer.PostNormBlock`."""

    def __init__(
        self, config: BertConfig, values: Values, dtype: torch.dtype, scratch: Scratch
    ) -> None:
        self.heads, width = config.heads, config.width
        linear = partial(Linear, dtype=dtype, scratch=scratch)
        self.ln_1 = Norm(values.of("ln_1"), config.eps, dtype)
        self.ln_2 = Norm(values.of("ln_2"), config.eps, dtype)
        weight, bias = values["attn.in_proj_weight"], values["attn.in_proj_bias"]
        self.query = linear(weight[:width], bias[:width])
        self.keys = linear(weight[width:], bias[width:])  # and values
        self.out = linear(values["attn.out_proj.weight"], values["attn.out_proj.bias"])
        values.release()
        self.fc1, self.fc2 = build_mlp(config.mlp_activation, values.of("mlp"), dtype, scratch)

    def __call__(self, x: Tensor, sizes: Sizes) -> Tensor:
        """Let the tokens of each text attend to each other: [tokens, w] to [tokens, w]."""
        return self._finish(x, self._attend(self.query(x), self.keys(x), sizes))

    def first(self, x: Tensor, sizes: Sizes) -> Tensor:
        """Compute the output of the first token of each text: [tokens, w] to [texts, w]."""
        lengths = torch.tensor([t for n, t in sizes for _ in range(n)], device=CPU)
        chosen = x[lengths.cumsum(dim=0) - lengths]
        return self._finish(chosen, self._attend(self.query(chosen), self.keys(x), sizes))

    def _attend(self, queries: Tensor, keys: Tensor, sizes: Sizes) -> Tensor:
        """Attend within texts: queries [q, w] and keys with values [tokens, 2w] to [q, w].

        There is a query per token or one per text.
        """
        each = len(queries) == len(keys)
        counts = [n * t if each else n for n, t in sizes]
        parts = zip(
            queries.split(counts), keys.split([n * t for n, t in sizes]), sizes, strict=True
        )
        mixed = []
        for query, key, (n, t) in parts:
            q = query.view(n, -1, self.heads, query.shape[1] // self.heads).transpose(1, 2)
            k, v = key.view(n, t, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            mixed.append(attend(q, k, v).flatten(0, 1))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add attention's output and the MLP's output to the residual x: all [q, w]."""
        x = self.ln_1(self.out.add_to(x, attended))
        return self.ln_2(self.fc2.add_to(x, self.fc1(x)))


def plan(rows: Sequence[Row], count: int = 1) -> list[Batch]:
    """Arrange texts in micro-batches by length, some for each of `count` workers.

    The micro-batches have about equal numbers of tokens; those of the longest texts come first.
    """
    order = sorted(range(len(rows)), key=lambda text: len(rows[text]), reverse=True)
    tokens = sum(map(len, rows))
    parts = 1 if tokens <= ALONE else count * -(-tokens // (count * TOKENS))
    batches: list[Batch] = []
    texts: list[int] = []
    done = size = 0
    for text in order:
        texts.append(text)
        size += len(rows[text])
        if size * parts >= tokens * (done + 1):
            done = size * parts // tokens
            batches.append(Batch(texts, [rows[text] for text in texts]))
            texts = []
    return batches


def _build_head(config: BertConfig, values: Values, dtype: torch.dtype) -> list[Linear]:
    """Rewrite the map to the shared space."""
    if config.head == "none":
        return []
    if config.head == "linear":
        return [Linear(values["text_projection"].T, None, dtype)]
    hidden = Linear(values["head.c_fc.weight"], None, dtype, "gelu")
    return [hidden, Linear(values["head.c_proj.weight"], None, dtype)]
