"""Define the text transformer: tokens, blocks and a projection of one token.

Its options cover CLIP, SigLIP and MetaCLIP 2; see `spec.TextConfig` for their sources.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.layers import Transformer
from zeroshot.spec import TextConfig


class TextTransformer(nn.Module):
    """Embed ids [b, t] as [b, d], not normalized.

    t may be any length up to the context length if attention is causal, because tokens after the
    end-of-text token then do not change the result; else it is the context length.
    """

    def __init__(self, config: TextConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        # not nn.Embedding(...), which takes a second for random values even on the meta device
        table = torch.empty(config.vocab_size, width)
        self.token_embedding = nn.Embedding.from_pretrained(table, freeze=False)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.transformer = Transformer(
            width, config.layers, config.heads, config.mlp_width, config.activation, config.eps
        )
        self.ln_final = nn.LayerNorm(width, eps=config.eps)
        if config.projection != "none":
            self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        if config.projection == "biased":
            self.text_projection_bias = nn.Parameter(torch.empty(embed_dim))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]  # [b, t, w]
        x = self.ln_final(self.transformer(x, causal=self.config.causal))
        x = x[torch.arange(len(ids), device=ids.device), self.pooled(ids)]  # [b, w]
        if self.config.projection != "none":
            x = x @ self.text_projection  # [b, d]
        return x + self.text_projection_bias if self.config.projection == "biased" else x

    def pooled(self, ids: Tensor) -> Tensor:
        """Return the position of the token that is projected: [b]."""
        if self.config.pool == "last":
            return torch.full_like(ids[:, 0], ids.shape[1] - 1)
        if self.config.pool == "end":
            return (ids == self.config.end_id).int().argmax(dim=1)  # the first one
        return ids.argmax(dim=1)  # CLIP's end-of-text id is the largest id
