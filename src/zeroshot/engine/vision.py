"""The vision transformer for a CPU: packed, fused, and its last layer for the class token only."""

from __future__ import annotations

import torch
from torch import Tensor

from zeroshot.engine.attention import attend
from zeroshot.engine.blocks import Filled, Norm, fast_blocks, in_memory
from zeroshot.engine.linear import Linear
from zeroshot.nn.config import ViTConfig
from zeroshot.nn.vision_transformer import VisionTransformer


class FastVisionTransformer:
    """Pixels [b, 3, s, s] become embeddings [b, d]; equal to the plain tower but for rounding."""

    def __init__(
        self,
        tower: VisionTransformer,
        config: ViTConfig,
        dtype: torch.dtype,
        filled: Filled = in_memory,
    ) -> None:
        self.dtype, self.patch = dtype, config.patch_size
        self.width = config.width
        with filled(tower, but=tower.transformer):
            self.patches = Linear(tower.conv1.weight.flatten(1), None, dtype)
            positions = tower.positional_embedding
            self.first = (tower.class_embedding + positions[0]).to(dtype)
            self.positions = positions[1:].to(dtype)
            self.ln_pre, self.ln_post = Norm(tower.ln_pre, dtype), Norm(tower.ln_post, dtype)
            self.proj = Linear(tower.proj.T, None, dtype)
        self.blocks, self.last = fast_blocks(tower.transformer, config.activation, dtype, filled)

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
