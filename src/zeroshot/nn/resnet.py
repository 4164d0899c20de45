"""OpenAI's modified ResNet.

It has a three-convolution stem, average-pooled strides and attention pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.spec import ResNetConfig

EXPANSION = 4  # output channels of a bottleneck, in multiples of its inner channels


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; a stride is an average pool before the last one."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        out = channels * EXPANSION
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = None
        if stride > 1 or channels_in != out:
            # keys "0" and "1", as the checkpoints name them
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, out, 1, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(self.pool(x))
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(self.pool(x))) + skip)
        return x


class AttentionPool(nn.Module):
    """Pool a feature map by attention; the only query is the mean of all positions.

    `forward` leaves out `c_proj`, which is the tower's projection to the shared space.
    """

    def __init__(self, side: int, width: int, heads: int, embed_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.empty(side * side + 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)  # [b, p, w]
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding
        q = self._split(self.q_proj(x[:, :1]))  # [b, h, 1, w/h]
        k, v = self._split(self.k_proj(x)), self._split(self.v_proj(x))
        x = F.scaled_dot_product_attention(q, k, v).flatten(1)  # [b, w]
        return x

    def _split(self, x: Tensor) -> Tensor:
        b, p, w = x.shape
        return x.view(b, p, self.heads, w // self.heads).transpose(1, 2)


class ModifiedResNet(nn.Module):
    """Embed pixels [b, 3, s, s] as [b, d], not normalized."""

    def __init__(self, config: ResNetConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        channels = width
        for n, blocks in enumerate(config.layers):
            inner = width * 2**n
            stage = [Bottleneck(channels, inner, stride=1 if n == 0 else 2)]
            channels = inner * EXPANSION
            stage += [Bottleneck(channels, inner, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"layer{n + 1}", nn.Sequential(*stage))
        self.stages = len(config.layers)
        self.attnpool = AttentionPool(config.image_size // 32, channels, config.heads, embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the pooled feature map: [b, 3, s, s] to [b, 32c]."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.avg_pool2d(x, 2)  # [b, c, s/4, s/4]
        for n in range(self.stages):
            x = self.get_submodule(f"layer{n + 1}")(x)  # finally [b, 32c, s/32, s/32]
        x = self.attnpool(x)  # [b, 32c]
        return x

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, 32c] to [b, d]."""
        return self.attnpool.c_proj(features)
