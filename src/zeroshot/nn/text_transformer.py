"""Define the text transformer.

It has tokens, causal blocks and a projection at the end-of-text token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.layers import Transformer
from zeroshot.spec import TextConfig


class TextTransformer(nn.Module):
    """Embed ids [b, t] as [b, d], not normalized.

    t may be any length up to the context length: attention is causal, so tokens after the
    end-of-text token do not change the result.
    """

    def __init__(self, config: TextConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        # not nn.Embedding(...), which takes a second for random values even on the meta device
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
        ends = ids.argmax(dim=1)  # the end-of-text id is the largest id
        x = x[torch.arange(len(ids), device=ids.device), ends] @ self.text_projection  # [b, d]
        return x
