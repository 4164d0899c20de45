"""Run the vision transformer on a CPU with packed weights and fused operations.

If only the class token is pooled, the last layer runs only for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.attention import attend
from zeroshot.engine.cpu.blocks import (
    LastBlock,
    Norm,
    build_blocks,
    build_mlp,
    build_whole_blocks,
)
from zeroshot.engine.cpu.linear import Linear, Scratch
from zeroshot.engine.cpu.patches import build_patches
from zeroshot.nn.rotary import angles
from zeroshot.spec import ViTConfig


class FastVisionTransformer:
    """Embed pixels [b, 3, s, s] as [b, d].

    The result equals the plain tower's except for rounding.
    """

    def __init__(self, config: ViTConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype, self.config = dtype, config
        self.patches = build_patches(config, values, dtype)
        positions, extra = values["positional_embedding"], config.extra_positions
        self.class_token = None
        if config.class_token:
            token = values["class_embedding"]
            self.class_token = (token + positions[0] if extra else token).to(dtype, copy=True)
        self.positions = positions[extra:].to(dtype, copy=True)
        self.ln_pre = Norm(values.of("ln_pre"), config.eps, dtype) if config.pre_norm else None
        self.ln_post = Norm(values.of("ln_post"), config.eps, dtype)
        self.proj = None
        if config.projection != "none":
            offset = values["proj_bias"] if config.projection == "biased" else None
            self.proj = Linear(values["proj"].T, offset, dtype)
        values.release()
        self.attn_pool = None
        if config.pool == "attention":
            self.attn_pool = FastAttentionPool(config, values.of("attn_pool"), dtype)
        turns = angles(config, self.positions)
        layers = values.of("transformer.resblocks")
        self.last: LastBlock | None = None
        if config.pool == "token":
            self.blocks, self.last = build_blocks(config, layers, dtype, turns)
        else:
            self.blocks = build_whole_blocks(config, layers, dtype, turns)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the pooled feature after the last norm: [b, w]."""
        x = self.embed(pixels)
        x = x if self.ln_pre is None else self.ln_pre(x)
        for block in self.blocks:
            x = block(x)
        if self.last is not None:
            return self.ln_post(self.last.first(x))
        return (
            self.ln_post(self.pool(x))
            if self.config.norm_after_pool
            else self.pool(self.ln_post(x))
        )

    def pool(self, x: Tensor) -> Tensor:
        """Combine the tokens [b, t, w] into one feature [b, w]."""
        if self.attn_pool is not None:
            return self.attn_pool(x)
        return x[:, int(self.config.class_token) :].mean(dim=1)

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        return features if self.proj is None else self.proj(features)

    def embed(self, pixels: Tensor) -> Tensor:
        """Turn pixels into tokens: [b, 3, s, s] to [b, t, w]."""
        patches = self.patches.cut(pixels.to(self.dtype))
        b, p, _ = patches.shape
        first = int(self.config.class_token)
        x = patches.new_empty(b, first + p, self.config.width)
        if self.class_token is not None:
            x[:, 0] = self.class_token
        torch.add(self.patches(patches), self.positions, out=x[:, first:])
        return x  # [b, t, w]


class FastAttentionPool:
    """Pool tokens by a learned query, which is multiplied once; see `nn.layers.AttentionPool`."""

    def __init__(self, config: ViTConfig, values: Values, dtype: torch.dtype) -> None:
        width, scratch = config.width, Scratch()
        self.heads = config.pool_heads
        weight, bias = values["in_proj_weight"], values["in_proj_bias"]
        query = weight[:width] @ values["probe"] + bias[:width]
        self.query = query.to(dtype).view(1, self.heads, 1, -1)
        self.keys = Linear(weight[width:], bias[width:], dtype, scratch=scratch)  # and values
        self.out = Linear(values["out_proj.weight"], values["out_proj.bias"], dtype)
        self.norm = Norm(values.of("ln"), config.eps, dtype)
        self.fc1, self.fc2 = build_mlp(config.activation, values.of("mlp"), dtype, scratch)

    def __call__(self, x: Tensor) -> Tensor:
        """Pool tokens: [b, t, w] to [b, w]."""
        b, t, _ = x.shape
        k, v = self.keys(x).view(b, t, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        pooled = self.out(attend(self.query.expand(b, -1, -1, -1), k, v))[:, 0]
        return self.fc2.add_to(pooled, self.fc1(self.norm(pooled)))
