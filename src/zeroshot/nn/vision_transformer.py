"""Define the vision transformer: patches, a class token, blocks, a projection.

The projection is applied to the class token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.layers import Transformer
from zeroshot.spec import ViTConfig


class VisionTransformer(nn.Module):
    """Embed pixels [b, 3, s, s] as [b, d], not normalized."""

    def __init__(self, config: ViTConfig, embed_dim: int) -> None:
        super().__init__()
        width, patch = config.width, config.patch_size
        patches = (config.image_size // patch) ** 2
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(patches + 1, width))
        self.ln_pre = nn.LayerNorm(width, eps=config.eps)
        self.transformer = Transformer(
            width, config.layers, config.heads, config.mlp_width, config.activation, config.eps
        )
        self.ln_post = nn.LayerNorm(width, eps=config.eps)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the class token after its norm: [b, 3, s, s] to [b, w]."""
        x = self.conv1(pixels).flatten(2).transpose(1, 2)  # [b, p, w]
        class_token = self.class_embedding.expand(x.shape[0], 1, -1)
        x = torch.cat([class_token, x], dim=1) + self.positional_embedding  # [b, 1 + p, w]
        x = self.transformer(self.ln_pre(x))
        x = self.ln_post(x[:, 0])  # [b, w]
        return x

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        return features @ self.proj
