"""The text transformer: tokens, causal blocks, the end-of-text place projected."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.layers import Transformer
from zeroshot.spec import TextConfig


class TextTransformer(nn.Module):
    """Ids [b, t] become embeddings [b, d], not normalised.

    t may be anything up to the context length: attention is causal, so what follows the
    end-of-text token cannot change the result.
    """

    def __init__(self, config: TextConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        # not nn.Embedding(...), whose random values would cost a second even on the meta device
        table = torch.empty(config.vocab_size, width)
        self.token_embedding = nn.Embedding.from_pretrained(table, freeze=False)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.transformer = Transformer(
            width, config.layers, config.heads, config.mlp_width, config.activation, config.eps
        )
        self.ln_final = nn.LayerNorm(width, eps=config.eps)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]  # [b, t, w]
        x = self.ln_final(self.transformer(x, causal=True))
        ends = ids.argmax(dim=1)  # the end-of-text id is the largest there is
        x = x[torch.arange(len(ids), device=ids.device), ends] @ self.text_projection  # [b, d]
        return x
