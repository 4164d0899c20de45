"""Rewrite the text transformer for a GPU: the last layer runs for the pooled token only."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zeroshot.engine.backend import Values
from zeroshot.engine.cuda.blocks import PooledBlock, fold_activations
from zeroshot.nn.bert_transformer import BertTransformer
from zeroshot.nn.text_transformer import TextTransformer
from zeroshot.spec import BertConfig, TextConfig


class PooledText(nn.Module):
    """Embed ids [b, t] as [b, d], as the plain tower does."""

    def __init__(self, tower: TextTransformer) -> None:
        super().__init__()
        self.tower = tower
        blocks: list[Any] = list(tower.transformer.resblocks)
        self.inner = nn.ModuleList(blocks[:-1])
        self.last = PooledBlock(blocks[-1])

    def forward(self, ids: Tensor) -> Tensor:
        tower = self.tower
        x = tower.token_embedding(ids) + tower.positional_embedding[: ids.shape[1]]  # [b, t, w]
        for block in self.inner:
            x = block(x, causal=tower.config.causal)
        x = self.last(x, places=tower.pooled(ids), causal=tower.config.causal)
        x = tower.ln_final(x[:, 0])  # [b, w]
        if tower.config.projection != "none":
            x = x @ tower.text_projection  # [b, d]
        return x + tower.text_projection_bias if tower.config.projection == "biased" else x


def rewrite_text(config: TextConfig, tower: TextTransformer, values: Values) -> PooledText:
    """Rewrite a text transformer that is on its device."""
    fold_activations(tower, values)
    return PooledText(tower)


def rewrite_bert(config: BertConfig, tower: BertTransformer, values: Values) -> BertTransformer:
    """Fold the activations of a BERT that is on its device."""
    fold_activations(tower, values)
    return tower
