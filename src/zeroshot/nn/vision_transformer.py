"""Define the vision transformer: patches, blocks, a pool and a projection.

Its options cover CLIP, SigLIP, the Perception Encoder, EVA-CLIP, CLIPA and the larger MobileCLIP;
see `spec.ViTConfig` for their sources.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.layers import AttentionPool, Transformer
from zeroshot.nn.rotary import angles
from zeroshot.nn.stem import ConvolutionStem
from zeroshot.spec import ViTConfig


class VisionTransformer(nn.Module):
    """Embed pixels [b, 3, s, s] as [b, d], not normalized."""

    def __init__(self, config: ViTConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        patches = (config.image_size // patch) ** 2
        if config.stem == "convolutions":
            self.stem = ConvolutionStem(width)
        else:
            self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=config.patch_bias)
        if config.class_token:
            self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(
            torch.empty(config.extra_positions + patches, width)
        )
        self.ln_pre = nn.LayerNorm(width, eps=config.eps) if config.pre_norm else nn.Identity()
        self.transformer = Transformer(
            width,
            config.layers,
            config.heads,
            config.mlp_width,
            config.activation,
            config.eps,
            config.block_options,
        )
        self.ln_post = nn.LayerNorm(width, eps=config.eps)
        if config.pool == "attention":
            self.attn_pool = AttentionPool(
                width, config.pool_heads, config.pool_mlp_width, config.activation, config.eps
            )
        if config.projection != "none":
            self.proj = nn.Parameter(torch.empty(width, embed_dim))
        if config.projection == "biased":
            self.proj_bias = nn.Parameter(torch.empty(embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the pooled feature after the last norm: [b, w]."""
        config = self.config
        x = self.stem(pixels) if config.stem == "convolutions" else self.conv1(pixels)
        x = x.flatten(2).transpose(1, 2)  # [b, p, w]
        if not config.class_position:
            x = x + self.positional_embedding
        if config.class_token:
            class_token = self.class_embedding.expand(x.shape[0], 1, -1)
            x = torch.cat([class_token, x], dim=1)  # [b, 1 + p, w]
        if config.class_position:
            x = x + self.positional_embedding
        x = self.transformer(self.ln_pre(x), turns=angles(config, x))
        if config.norm_after_pool or config.pool == "token":  # others are not read
            return self.ln_post(self.pool(x))
        return self.pool(self.ln_post(x))

    def pool(self, x: Tensor) -> Tensor:
        """Combine the tokens [b, t, w] into one feature [b, w]."""
        if self.config.pool == "attention":
            return self.attn_pool(x)
        if self.config.pool == "mean":  # of the patches
            return x[:, int(self.config.class_token) :].mean(dim=1)
        return x[:, 0]

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        if self.config.projection == "none":
            return features
        x = features @ self.proj  # [b, d]
        return x + self.proj_bias if self.config.projection == "biased" else x
