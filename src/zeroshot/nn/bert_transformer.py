"""Define the BERT encoder as a text tower: tokens, post-norm blocks, a pool and a head.

Its options cover BERT, RoBERTa and XLM-R; see `spec.BertConfig` for their sources.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.nn.layers import MLP, Attention
from zeroshot.spec import Activation, BertConfig


class PostNormBlock(nn.Module):
    """One residual layer of BERT: attention, then the MLP, each followed by a LayerNorm."""

    def __init__(
        self, width: int, heads: int, mlp_width: int, activation: Activation, eps: float
    ) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, mlp_width, activation)
        self.ln_2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.ln_1(x + self.attn(x, mask=mask))
        x = self.ln_2(x + self.mlp(x))
        return x


class Head(nn.Module):
    """Two linear layers without bias, with GELU between them."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        hidden = (width + embed_dim) // 2  # hf_model.py of open_clip
        self.c_fc = nn.Linear(width, hidden, bias=False)
        self.c_proj = nn.Linear(hidden, embed_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class BertTransformer(nn.Module):
    """Embed ids [b, t] as [b, d], not normalized.

    t may be any length up to the context length. Padding after a text does not change the result.
    """

    def __init__(self, config: BertConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        # not nn.Embedding(...), which takes a second for random values even on the meta device
        table = torch.empty(config.vocab_size, width)
        self.token_embedding = nn.Embedding.from_pretrained(table, freeze=False)
        self.token_type_embedding = nn.Parameter(torch.empty(width))  # of the only type in use
        self.positional_embedding = nn.Parameter(torch.empty(config.positions, width))
        self.ln_embed = nn.LayerNorm(width, eps=config.eps)
        shape = (width, config.heads, config.mlp_width, config.mlp_activation, config.eps)
        self.blocks = nn.ModuleList(PostNormBlock(*shape) for _ in range(config.layers))
        if config.head == "linear":
            self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        elif config.head == "mlp":
            self.head = Head(width, embed_dim)

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != self.config.pad  # [b, t]
        places = (real.cumsum(dim=1) - 1).clamp(min=0) + self.config.first_position
        x = self.token_embedding(ids) + self.token_type_embedding
        x = self.ln_embed(x + self.positional_embedding[places])  # [b, t, w]
        for block in self.blocks:
            x = block(x, real[:, None, None])
        x = self.pooled(x, real)  # [b, w]
        if self.config.head == "linear":
            return x @ self.text_projection
        return self.head(x) if self.config.head == "mlp" else x

    def pooled(self, x: Tensor, real: Tensor) -> Tensor:
        """Combine the tokens [b, t, w] that are no padding into one feature [b, w]."""
        if self.config.pool == "first":
            return x[:, 0]
        return (x * real.unsqueeze(2)).sum(dim=1) / real.sum(dim=1, keepdim=True)
