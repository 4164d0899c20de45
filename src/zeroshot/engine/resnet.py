"""The ResNet for a CPU: channels last, batch norms, ReLUs and skips fused into the convolutions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.attention import attend
from zeroshot.engine.blocks import Filled, in_memory
from zeroshot.engine.convolution import folded
from zeroshot.engine.linear import Linear
from zeroshot.nn.resnet import AttentionPool, Bottleneck, ModifiedResNet


class FastResNet:
    """Pixels [b, 3, s, s] become embeddings [b, d]; equal to the plain tower but for rounding."""

    def __init__(
        self, tower: ModifiedResNet, dtype: torch.dtype, filled: Filled = in_memory
    ) -> None:
        self.dtype = dtype
        with filled(tower):
            self.stem = [
                folded(tower.conv1, tower.bn1, dtype, relu=True),
                folded(tower.conv2, tower.bn2, dtype, relu=True),
                folded(tower.conv3, tower.bn3, dtype, relu=True),
            ]
            self.blocks = [
                FastBottleneck(block, dtype)
                for block in tower.modules()
                if isinstance(block, Bottleneck)
            ]
            self.pool = FastAttentionPool(tower.attnpool, dtype)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        x = pixels.to(self.dtype, memory_format=torch.channels_last)
        for convolve in self.stem:
            x = convolve(x)
        x = F.avg_pool2d(x, 2)  # [b, c, s/4, s/4]
        for block in self.blocks:
            x = block(x)
        return self.pool(x)


class FastBottleneck:
    """One bottleneck: four convolutions, nothing between them."""

    def __init__(self, block: Bottleneck, dtype: torch.dtype) -> None:
        self.reduce = folded(block.conv1, block.bn1, dtype, relu=True)
        self.middle = folded(block.conv2, block.bn2, dtype, relu=True)
        self.expand = folded(block.conv3, block.bn3, dtype)
        self.pool = block.pool
        self.skip = None
        if block.downsample is not None:
            conv, norm = block.downsample
            assert isinstance(conv, torch.nn.Conv2d)
            assert isinstance(norm, torch.nn.BatchNorm2d)
            self.skip = folded(conv, norm, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the block: [b, c, s, s] to [b, c', s', s']."""
        skip = x if self.skip is None else self.skip(self.pool(x))
        return self.expand.add_to(skip, self.pool(self.middle(self.reduce(x))))


class FastAttentionPool:
    """Attention whose only query is the mean of all places, its keys and values in one map."""

    def __init__(self, pool: AttentionPool, dtype: torch.dtype) -> None:
        self.heads = pool.heads
        self.positions = pool.positional_embedding.to(dtype)
        self.query = Linear(pool.q_proj.weight, pool.q_proj.bias, dtype)
        weight = torch.cat([pool.k_proj.weight, pool.v_proj.weight])
        self.keys = Linear(weight, torch.cat([pool.k_proj.bias, pool.v_proj.bias]), dtype)
        self.out = Linear(pool.c_proj.weight, pool.c_proj.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Pool a feature map [b, w, s, s] to [b, d]."""
        x = x.flatten(2).transpose(1, 2)  # [b, p, w]
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positions
        b, p, w = x.shape
        shape = (self.heads, w // self.heads)
        q = self.query(x[:, :1]).view(b, 1, *shape).transpose(1, 2)  # [b, h, 1, w/h]
        k, v = self.keys(x).view(b, p, 2, *shape).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(attend(q, k, v)[:, 0])
