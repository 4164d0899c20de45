"""The vision transformer for a CPU: packed, fused, and its last layer for the class token only."""

from __future__ import annotations

import torch
from torch import Tensor

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.blocks import Norm, fast_blocks
from zeroshot.engine.cpu.linear import Linear
from zeroshot.spec import ViTConfig


class FastVisionTransformer:
    """Pixels [b, 3, s, s] become embeddings [b, d]; equal to the plain tower but for rounding."""

    def __init__(self, config: ViTConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype, self.patch = dtype, config.patch_size
        self.width = config.width
        self.patches = Linear(values["conv1.weight"].flatten(1), None, dtype)
        positions = values["positional_embedding"]
        self.first = (values["class_embedding"] + positions[0]).to(dtype)
        self.positions = positions[1:].to(dtype, copy=True)
        self.ln_pre = Norm(values.of("ln_pre"), config.eps, dtype)
        self.ln_post = Norm(values.of("ln_post"), config.eps, dtype)
        self.proj = Linear(values["proj"].T, None, dtype)
        values.release()
        self.blocks, self.last = fast_blocks(config, values.of("transformer.resblocks"), dtype)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        x = self.ln_pre(self.embed(pixels))
        for block in self.blocks:
            q, k, v = block.heads_first(block.qkv(block.ln_1(x)), 3)
            x = block.finish(x, attend(q, k, v))
        return self.proj(self.ln_post(self.pool(x)))

    def embed(self, pixels: Tensor) -> Tensor:
        """Cut into patches and map them: a convolution whose stride is its size is linear."""
        b, c, s, _ = pixels.shape
        p = self.patch
        side = s // p
        cut = pixels[..., : side * p, : side * p].to(self.dtype).view(b, c, side, p, side, p)
        cut = cut.permute(0, 2, 4, 1, 3, 5).reshape(b, side * side, c * p * p)
        x = cut.new_empty(b, side * side + 1, self.width)
        x[:, 0] = self.first
        torch.add(self.patches(cut), self.positions, out=x[:, 1:])
        return x  # [b, 1 + p, w]

    def pool(self, x: Tensor) -> Tensor:
        """Run the last block for the class token only: the others are never read."""
        last = self.last
        normed = last.ln_1(x)
        q = last.heads_first(last.query(normed[:, :1]), 1)[0]  # [b, h, 1, w/h]
        k, v = last.heads_first(last.keys(normed), 2)
        return last.finish(x[:, :1].contiguous(), attend(q, k, v))[:, 0]
