"""Run the vision transformer on a CPU with packed weights and fused operations.

The last layer runs only for the class token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.blocks import Norm, build_blocks
from zeroshot.engine.cpu.linear import Linear
from zeroshot.spec import ViTConfig


class FastVisionTransformer:
    """Embed pixels [b, 3, s, s] as [b, d].

    The result equals the plain tower's except for rounding.
    """

    def __init__(self, config: ViTConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype, self.patch = dtype, config.patch_size
        self.width = config.width
        self.patches = Linear(values["conv1.weight"].flatten(1), None, dtype)
        positions = values["positional_embedding"]
        self.class_token = (values["class_embedding"] + positions[0]).to(dtype)
        self.positions = positions[1:].to(dtype, copy=True)
        self.ln_pre = Norm(values.of("ln_pre"), config.eps, dtype)
        self.ln_post = Norm(values.of("ln_post"), config.eps, dtype)
        self.proj = Linear(values["proj"].T, None, dtype)
        values.release()
        self.blocks, self.last = build_blocks(config, values.of("transformer.resblocks"), dtype)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the class token after its norm: [b, w]."""
        x = self.ln_pre(self.embed(pixels))
        for block in self.blocks:
            x = block(x)
        return self.ln_post(self.last.first(x))

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        return self.proj(features)

    def embed(self, pixels: Tensor) -> Tensor:
        """Split into patches and apply a linear layer: [b, 3, s, s] to [b, 1 + p, w].

        A convolution whose stride equals its kernel size is a linear layer.
        """
        b, c, s, _ = pixels.shape
        p = self.patch
        side = s // p
        cut = pixels[..., : side * p, : side * p].to(self.dtype).view(b, c, side, p, side, p)
        cut = cut.permute(0, 2, 4, 1, 3, 5).reshape(b, side * side, c * p * p)
        x = cut.new_empty(b, side * side + 1, self.width)
        x[:, 0] = self.class_token
        torch.add(self.patches(cut), self.positions, out=x[:, 1:])
        return x  # [b, 1 + p, w]
