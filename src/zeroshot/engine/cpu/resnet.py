"""Run the ResNet on a CPU.

It is channels last, with batch norms, ReLUs and skips fused.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.convolution import fold_batch_norm
from zeroshot.engine.cpu.linear import Linear
from zeroshot.spec import ResNetConfig


class FastResNet:
    """Embed pixels [b, 3, s, s] as [b, d].

    The result equals the plain tower's except for rounding.
    """

    def __init__(self, config: ResNetConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.stem = [
            fold_batch_norm(
                values.of(f"conv{n}"),
                values.of(f"bn{n}"),
                dtype,
                stride=2 if n == 1 else 1,
                padding=1,
                relu=True,
            )
            for n in (1, 2, 3)
        ]
        self.blocks = [
            FastBottleneck(
                values.of(f"layer{stage}.{n}"),
                dtype,
                stride=2 if stage > 1 and n == 0 else 1,
                widens=n == 0,
            )
            for stage, count in enumerate(config.layers, 1)
            for n in range(count)
        ]
        attention = values.of("attnpool")
        self.pool = FastAttentionPool(attention, config.heads, dtype)
        self.proj = Linear(attention["c_proj.weight"], attention["c_proj.bias"], dtype)
        values.release()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the pooled feature map: [b, 32c]."""
        x = pixels.to(self.dtype, memory_format=torch.channels_last)
        for convolve in self.stem:
            x = convolve(x)
        x = F.avg_pool2d(x, 2)  # [b, c, s/4, s/4]
        for block in self.blocks:
            x = block(x)
        return self.pool(x)

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, 32c] to [b, d]."""
        return self.proj(features)


class FastBottleneck:
    """One bottleneck: three or four fused convolutions."""

    def __init__(self, values: Values, dtype: torch.dtype, *, stride: int, widens: bool) -> None:
        self.reduce = fold_batch_norm(values.of("conv1"), values.of("bn1"), dtype, relu=True)
        self.middle = fold_batch_norm(
            values.of("conv2"), values.of("bn2"), dtype, padding=1, relu=True
        )
        self.expand = fold_batch_norm(values.of("conv3"), values.of("bn3"), dtype)
        self.stride = stride
        self.skip = None
        if widens:
            self.skip = fold_batch_norm(values.of("downsample.0"), values.of("downsample.1"), dtype)
        values.release()

    def pool(self, x: Tensor) -> Tensor:
        """Reduce the size of a feature map by the stride."""
        return F.avg_pool2d(x, self.stride) if self.stride > 1 else x

    def __call__(self, x: Tensor) -> Tensor:
        """Run the block: [b, c, s, s] to [b, c', s', s']."""
        skip = x if self.skip is None else self.skip(self.pool(x))
        return self.expand.add_to(skip, self.pool(self.middle(self.reduce(x))))


class FastAttentionPool:
    """Attention whose only query is the mean of all positions.

    Keys and values share one weight matrix.
    """

    def __init__(self, values: Values, heads: int, dtype: torch.dtype) -> None:
        self.heads = heads
        self.positions = values["positional_embedding"].to(dtype, copy=True)
        self.query = Linear(values["q_proj.weight"], values["q_proj.bias"], dtype)
        weight = torch.cat([values["k_proj.weight"], values["v_proj.weight"]])
        bias = torch.cat([values["k_proj.bias"], values["v_proj.bias"]])
        self.keys = Linear(weight, bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Pool a feature map [b, w, s, s] to [b, w]."""
        x = x.flatten(2).transpose(1, 2)  # [b, p, w]
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positions
        b, p, w = x.shape
        shape = (self.heads, w // self.heads)
        q = self.query(x[:, :1]).view(b, 1, *shape).transpose(1, 2)  # [b, h, 1, w/h]
        k, v = self.keys(x).view(b, p, 2, *shape).permute(2, 0, 3, 1, 4).unbind(0)
        return attend(q, k, v)[:, 0]
