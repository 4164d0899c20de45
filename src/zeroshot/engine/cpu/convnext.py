"""Run ConvNeXt on a CPU.

It is channels last, so that all convolutions except the depthwise ones are packed linear layers,
with activations, layer scales and residuals fused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.blocks import Norm
from zeroshot.engine.cpu.convolution import Depthwise
from zeroshot.engine.cpu.linear import Linear, Scratch
from zeroshot.spec import ConvNeXtConfig


class FusedConvNeXt:
    """Embed pixels [b, 3, s, s] as [b, d].

    The result equals the plain tower's except for rounding.
    """

    def __init__(self, config: ConvNeXtConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype, eps, scratch = dtype, config.eps, Scratch()
        stem = values.of("stem")
        self.stem = Cells(stem.of("0"), dtype, scratch)
        self.ln_stem = Norm(stem.of("1"), eps, dtype)
        self.layers: list[Norm | Cells | FusedConvNeXtBlock] = []
        for n, blocks in enumerate(config.layers):
            stage = values.of(f"stages.{n}")
            if n > 0:
                self.layers.append(Norm(stage.of("down.0"), eps, dtype))
                self.layers.append(Cells(stage.of("down.1"), dtype, scratch))
            for block in range(blocks):
                part = stage.of(f"blocks.{block}")
                self.layers.append(FusedConvNeXtBlock(part, eps, dtype, scratch))
                values.release()
        self.ln_post = Norm(values.of("ln_post"), eps, dtype)
        self.hidden = None
        if config.deep_projection:
            hidden = values.of("hidden")
            self.hidden = Linear(hidden["weight"], hidden["bias"], dtype, "gelu")
        self.proj = Linear(values["proj.weight"], None, dtype)
        values.release()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the normed mean of the last feature map: [b, 3, s, s] to [b, w]."""
        x = pixels.to(self.dtype).permute(0, 2, 3, 1)
        x = self.ln_stem(self.stem(x))  # [b, s/4, s/4, c]
        for layer in self.layers:
            x = layer(x)
        return self.ln_post(x.mean(dim=(1, 2)))

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        return self.proj(features if self.hidden is None else self.hidden(features))


class Cells:
    """A convolution whose stride equals its kernel size: a linear layer over square cells."""

    def __init__(self, values: Values, dtype: torch.dtype, scratch: Scratch) -> None:
        weight = values["weight"]
        self.side = weight.shape[-1]
        weight = weight.permute(0, 2, 3, 1).flatten(1)  # [out, side * side * c]
        self.linear = Linear(weight, values["bias"], dtype, scratch=scratch)

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve [b, s, s, c] to [b, s / side, s / side, out]."""
        b, height, width, c = x.shape
        n = self.side
        cells = x.reshape(b, height // n, n, width // n, n, c).transpose(2, 3)
        return self.linear(cells.reshape(b, height // n, width // n, n * n * c))


class FusedConvNeXtBlock:
    """A depthwise convolution, and an MLP whose output is scaled by channel."""

    def __init__(self, values: Values, eps: float, dtype: torch.dtype, scratch: Scratch) -> None:
        self.conv = Depthwise(values.of("conv"), dtype)
        self.ln = Norm(values.of("ln"), eps, dtype)
        fc1, fc2, gamma = values.of("mlp.c_fc"), values.of("mlp.c_proj"), values["gamma"]
        self.fc1 = Linear(fc1["weight"], fc1["bias"], dtype, "gelu", scratch=scratch)
        weight, bias = fc2["weight"] * gamma[:, None], fc2["bias"] * gamma
        self.fc2 = Linear(weight, bias, dtype, scratch=scratch)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the block: [b, s, s, c]."""
        return self.fc2.add_to(x, self.fc1(self.ln(self.conv(x))))
