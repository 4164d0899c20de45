"""The embedded model's image tower: class scores, turned into a place among the names of classes.

Not a CLIP tower: it was never trained on text. An image's embedding is a weighted mean of the
text embeddings of the classes it most resembles, so it can stand for what lies between them.
Source: ConSE, Norouzi et al. 2013, arXiv 1312.5650, equation 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.efficientnet import EfficientNetLite
from zeroshot.spec import ConSEConfig


class ConSETower(nn.Module):
    """Pixels [b, 3, s, s] become embeddings [b, d], not normalised.

    The class scores, softened by a temperature, weigh the rows of `concepts`, of which only the
    `top_k` best take part: with all of them, words that resemble everything win.
    """

    def __init__(self, config: ConSEConfig, embed_dim: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.top_k = config.top_k
        self.classifier = EfficientNetLite(config.variant, config.concepts)
        self.concepts = nn.Parameter(torch.empty(config.concepts, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.place(self.classifier(pixels))

    def place(self, scores: Tensor) -> Tensor:
        """Combine the names of the best classes, scores [b, concepts] to embeddings [b, d]."""
        best, which = (scores / self.temperature).topk(self.top_k, dim=1)  # [b, k]
        weights = best.softmax(dim=1)  # equal to softmax over all, cut and made to sum to one
        x = torch.einsum("bk,bkd->bd", weights, self.concepts[which])  # [b, d]
        return x
