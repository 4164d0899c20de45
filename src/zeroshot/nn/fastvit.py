"""Define FastViT, the convolutional image tower of MobileCLIP S0 to S4.

Its training branches, batch norms and layer scales are folded into the convolutions when a
checkpoint is read. Sources: Vasu et al. 2023 (arXiv 2303.14189), section 3; MobileCLIP: Vasu et al.
2024 (arXiv 2311.17049), section 4; `fastvit_mci*` of timm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.nn.layers import Attention
from zeroshot.spec import FastViTConfig


def convolution(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a padded convolution with bias; it is depthwise if the kernel is larger than 1."""
    groups = 1 if kernel == 1 else channels
    return nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups)


class SqueezeExcitation(nn.Module):
    """Weigh channels by gates that depend on the means of all channels."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = convolution(channels, hidden, 1)
        self.fc2 = convolution(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)  # [b, c, 1, 1]
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(means))))


class ConvolutionalMLP(nn.Module):
    """Filter each channel with a 7 x 7 kernel, then apply an MLP at each position."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv = convolution(channels, channels, 7)
        self.c_fc = convolution(channels, hidden, 1)
        self.c_proj = convolution(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(self.conv(x))))


class ConvolutionBlock(nn.Module):
    """Mix neighboring positions with a 3 x 3 kernel, whose center contains the residual."""

    def __init__(self, config: FastViTConfig, channels: int) -> None:
        super().__init__()
        self.conv = convolution(channels, channels, 3)
        self.mlp = ConvolutionalMLP(channels, channels * config.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.mlp(x)


class AttentionBlock(nn.Module):
    """Let every position attend to every other.

    Scale and shift of the norm are folded into the attention. So nothing is left of a BatchNorm.
    """

    def __init__(self, config: FastViTConfig, channels: int) -> None:
        super().__init__()
        self.norm = (
            nn.LayerNorm(channels, eps=config.eps, elementwise_affine=False)
            if config.layer_norm
            else nn.Identity()
        )
        self.attn = Attention(channels, channels // config.head_width)
        self.mlp = ConvolutionalMLP(channels, channels * config.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        y = self.attn(self.norm(x.flatten(2).transpose(1, 2)))  # [b, p, c]
        x = x + y.transpose(1, 2).reshape(x.shape)
        return x + self.mlp(x)


class Downsample(nn.Module):
    """Halve the sides of a feature map and double its channels."""

    def __init__(self, channels: int, *, squeeze: bool) -> None:
        super().__init__()
        out = 2 * channels
        self.conv = convolution(channels, out, 7, stride=2)
        self.squeeze = SqueezeExcitation(out, out // 4) if squeeze else nn.Identity()
        self.point = convolution(out, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.point(F.gelu(self.squeeze(self.conv(x)))))


class FastViT(nn.Module):
    """Embed pixels [b, 3, s, s] as [b, d], not normalized."""

    def __init__(self, config: FastViTConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.stem = nn.ModuleList(
            [
                nn.Conv2d(3, width, 3, stride=2, padding=1),
                convolution(width, width, 3, stride=2),
                convolution(width, width, 1),
            ]
        )
        self.stages = nn.Sequential(*(self._stage(config, n) for n in range(len(config.layers))))
        last = config.channels(len(config.layers) - 1)
        self.conv = convolution(last, 2 * last, 3)
        self.squeeze = SqueezeExcitation(2 * last, 2 * last // 16)
        self.proj = nn.Linear(2 * last, embed_dim)

    @staticmethod
    def _stage(config: FastViTConfig, n: int) -> nn.Sequential:
        """Build a stage: downsampling, positions by a convolution, and blocks."""
        channels, stage = config.channels(n), nn.Sequential()
        if n > 0:
            down = Downsample(config.channels(n - 1), squeeze=config.squeezes(n))
            stage.add_module("down", down)
        if config.attends(n):
            stage.add_module("positions", convolution(channels, channels, 7))
        kind = AttentionBlock if config.attends(n) else ConvolutionBlock
        blocks = (kind(config, channels) for _ in range(config.layers[n]))
        stage.add_module("blocks", nn.Sequential(*blocks))
        return stage

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the mean of the last feature map: [b, 3, s, s] to [b, w]."""
        x = pixels
        for layer in self.stem:
            x = F.gelu(layer(x))  # finally [b, c, s/4, s/4]
        x = F.gelu(self.squeeze(self.conv(self.stages(x))))
        return x.mean(dim=(2, 3))

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        return self.proj(features)
