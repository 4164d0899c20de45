"""Define ConvNeXt, the convolutional image tower of LAION's checkpoints.

Sources: Liu et al. 2022 (arXiv 2201.03545), section 2; `convnext_*` of timm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroshot.nn.layers import MLP
from zeroshot.spec import ConvNeXtConfig


class ChannelNorm(nn.LayerNorm):
    """Normalize the channels of each position: [b, c, s, s]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Filter each channel with a 7 x 7 kernel, then apply an MLP at each position."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.ln = nn.LayerNorm(channels, eps=eps)
        self.mlp = MLP(channels, 4 * channels, "gelu")
        self.gamma = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.ln(self.conv(x).permute(0, 2, 3, 1)))  # [b, s, s, c]
        return x + (self.gamma * y).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Embed pixels [b, 3, s, s] as [b, d], not normalized."""

    def __init__(self, config: ConvNeXtConfig, embed_dim: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, config.width, 4, stride=4), ChannelNorm(config.width, eps=config.eps)
        )
        self.stages = nn.Sequential()
        for n, blocks in enumerate(config.layers):
            channels = config.width << n
            before, stage = channels // 2, nn.Sequential()
            if n > 0:
                norm = ChannelNorm(before, eps=config.eps)
                down = nn.Sequential(norm, nn.Conv2d(before, channels, 2, stride=2))
                stage.add_module("down", down)
            layers = (ConvNeXtBlock(channels, config.eps) for _ in range(blocks))
            stage.add_module("blocks", nn.Sequential(*layers))
            self.stages.append(stage)
        self.ln_post = nn.LayerNorm(config.features, eps=config.eps)
        hidden = 2 * embed_dim if config.deep_projection else config.features
        self.hidden = nn.Linear(config.features, hidden) if config.deep_projection else None
        self.proj = nn.Linear(hidden, embed_dim, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the normed mean of the last feature map: [b, 3, s, s] to [b, w]."""
        x = self.stages(self.stem(pixels))  # [b, w, s/32, s/32]
        return self.ln_post(x.mean(dim=(2, 3)))

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        if self.hidden is not None:
            features = nn.functional.gelu(self.hidden(features))
        return self.proj(features)
