"""Run FastViT on a CPU.

It is channels last, so that convolutions of one pixel are packed linear layers, with activations
and residuals fused.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.convolution import Depthwise
from zeroshot.engine.cpu.linear import Fused, Linear, Scratch
from zeroshot.spec import FastViTConfig


class FusedFastViT:
    """Embed pixels [b, 3, s, s] as [b, d].

    The result equals the plain tower's except for rounding.
    """

    def __init__(self, config: FastViTConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype, scratch = dtype, Scratch()
        first = values.of("stem.0")
        self.weight = first["weight"].to(dtype, copy=True).contiguous(memory_format=LAST)
        self.bias = first["bias"].to(dtype, copy=True)
        self.halve = Depthwise(values.of("stem.1"), dtype, stride=2)
        self.point = pointwise(values.of("stem.2"), dtype, scratch, "gelu")
        self.layers: list[Downsample | Depthwise | ConvolutionBlock | AttentionBlock] = []
        for n, blocks in enumerate(config.layers):
            stage = values.of(f"stages.{n}")
            if n > 0:
                squeezes = config.squeezes(n)
                self.layers.append(Downsample(stage.of("down"), dtype, scratch, squeeze=squeezes))
            if config.attends(n):
                self.layers.append(Depthwise(stage.of("positions"), dtype))
            for block in range(blocks):
                kind = AttentionBlock if config.attends(n) else ConvolutionBlock
                self.layers.append(kind(config, stage.of(f"blocks.{block}"), dtype, scratch))
                values.release()
        self.conv = Depthwise(values.of("conv"), dtype, outputs=2)
        self.squeeze = SqueezeExcitation(values.of("squeeze"), dtype, self.conv.order)
        self.places = torch.argsort(self.conv.order)  # of features, in the order of the plain tower
        self.proj = Linear(values["proj.weight"], values["proj.bias"], dtype)
        values.release()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the mean of the last feature map: [b, 3, s, s] to [b, w]."""
        x = pixels.to(self.dtype, memory_format=LAST)
        x = F.conv2d(x, self.weight, self.bias, stride=2, padding=1)
        x = F.gelu(self.halve(F.gelu(x.permute(0, 2, 3, 1))))
        x = self.point(x)  # [b, s/4, s/4, c]
        for layer in self.layers:
            x = layer(x)
        x = F.gelu(self.squeeze(self.conv(x)))
        return x.mean(dim=(1, 2))[:, self.places]

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        return self.proj(features)


class Downsample:
    """Halve the sides of a feature map and double its channels."""

    def __init__(
        self, values: Values, dtype: torch.dtype, scratch: Scratch, *, squeeze: bool
    ) -> None:
        self.conv = Depthwise(values.of("conv"), dtype, stride=2, outputs=2)
        order = self.conv.order
        self.squeeze = None
        if squeeze:
            self.squeeze = SqueezeExcitation(values.of("squeeze"), dtype, order)
        weight, bias = values["point.weight"].flatten(1)[:, order], values["point.bias"]
        self.point = Linear(weight, bias, dtype, "gelu", scratch=scratch)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the layer: [b, s, s, c] to [b, s/2, s/2, 2c]."""
        x = self.conv(x)
        return self.point(F.gelu(x if self.squeeze is None else self.squeeze(x)))


class SqueezeExcitation:
    """Weigh channels by gates that depend on the means of all channels."""

    def __init__(self, values: Values, dtype: torch.dtype, order: Tensor) -> None:
        weight, bias = values["fc1.weight"].flatten(1)[:, order], values["fc1.bias"]
        self.fc1 = Linear(weight, bias, dtype, "relu")
        weight, bias = values["fc2.weight"].flatten(1)[order], values["fc2.bias"][order]
        self.fc2 = Linear(weight, bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Weigh [b, s, s, c], in place."""
        gates = torch.sigmoid(self.fc2(self.fc1(x.mean(dim=(1, 2)))))
        return x.mul_(gates[:, None, None])


class ConvolutionalMLP:
    """A depthwise convolution and an MLP at each position."""

    def __init__(self, values: Values, dtype: torch.dtype, scratch: Scratch) -> None:
        self.conv = Depthwise(values.of("conv"), dtype)
        self.fc1 = pointwise(values.of("c_fc"), dtype, scratch, "gelu")
        self.fc2 = pointwise(values.of("c_proj"), dtype, scratch)

    def add_to(self, x: Tensor) -> Tensor:
        """Return x + self(x): [b, s, s, c]."""
        return self.fc2.add_to(x, self.fc1(self.conv(x)))


class ConvolutionBlock:
    """A depthwise convolution, which contains its residual, and the MLP."""

    def __init__(
        self, config: FastViTConfig, values: Values, dtype: torch.dtype, scratch: Scratch
    ) -> None:
        self.conv = Depthwise(values.of("conv"), dtype)
        self.mlp = ConvolutionalMLP(values.of("mlp"), dtype, scratch)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the block: [b, s, s, c]."""
        return self.mlp.add_to(self.conv(x))


class AttentionBlock:
    """Attention between all positions, and the MLP."""

    def __init__(
        self, config: FastViTConfig, values: Values, dtype: torch.dtype, scratch: Scratch
    ) -> None:
        self.config, attention = config, values.of("attn")
        weight, bias = attention["in_proj_weight"], attention["in_proj_bias"]
        self.qkv = Linear(weight, bias, dtype, scratch=scratch)
        weight, bias = attention["out_proj.weight"], attention["out_proj.bias"]
        self.out = Linear(weight, bias, dtype, scratch=scratch)
        self.mlp = ConvolutionalMLP(values.of("mlp"), dtype, scratch)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the block: [b, s, s, c]."""
        b, _, _, c = shape = x.shape
        x = x.reshape(b, -1, c)
        y = F.layer_norm(x, [c], eps=self.config.eps) if self.config.layer_norm else x
        heads = self.qkv(y).view(b, x.shape[1], 3, -1, self.config.head_width)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)  # [b, h, p, c/h]
        return self.mlp.add_to(self.out.add_to(x, attend(q, k, v)).view(shape))


LAST = torch.channels_last


def pointwise(
    values: Values, dtype: torch.dtype, scratch: Scratch, fused: Fused = "none"
) -> Linear:
    """Return the linear layer that equals a convolution of one pixel."""
    return Linear(values["weight"].flatten(1), values["bias"], dtype, fused, scratch=scratch)
