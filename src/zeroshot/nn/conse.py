"""The embedded model's image tower: a weighted mean of class-name embeddings.

It is not a CLIP tower: it was not trained on text. An image's embedding is the mean of the text
embeddings of its most probable classes, weighted by their probabilities, so it can lie between
them. Source: ConSE, Norouzi et al. 2013, arXiv 1312.5650, equation 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.efficientnet import EfficientNetLite
from zeroshot.spec import ConSEConfig


class ConSETower(nn.Module):
    """Embed pixels [b, 3, s, s] as [b, d], not normalized.

    The softmax of the class scores, divided by a temperature, weights the rows of `concepts`. Only
    the `top_k` best classes are used: with all of them, names that resemble every image win.
    """

    def __init__(self, config: ConSEConfig, embed_dim: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.top_k = config.top_k
        self.classifier = EfficientNetLite(config.variant, config.concepts)
        self.concepts = nn.Parameter(torch.empty(config.concepts, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the features that the classifier scores: [b, 3, s, s] to [b, 1280]."""
        return self.classifier.trunk(pixels)

    def project(self, features: Tensor) -> Tensor:
        """Score the classes, then average their embeddings: [b, 1280] to [b, d]."""
        return self.combine(self.classifier.classifier(features))

    def combine(self, scores: Tensor) -> Tensor:
        """Average the embeddings of the best classes: [b, concepts] to [b, d]."""
        best, which = (scores / self.temperature).topk(self.top_k, dim=1)  # [b, k]
        weights = best.softmax(
            dim=1
        )  # equals a softmax over all classes, truncated and renormalized
        x = torch.einsum("bk,bkd->bd", weights, self.concepts[which])  # [b, d]
        return x
