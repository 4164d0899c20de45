"""Rotate queries and keys by angles that depend on the place of a patch (RoPE).

Channels are rotated in pairs of neighbors. A quarter of a head's channels gives the speeds; the
first half of a head is rotated by one axis, the second half by the other. Sources:
`rope.py` of facebookresearch/perception_models, `RotaryEmbeddingCat` of timm.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeroshot.spec import ViTConfig

THETA = 10_000.0
Turns = tuple[Tensor, Tensor]  # cosines and sines, each [patches, w/h/2]


def angles(config: ViTConfig, like: Tensor) -> Turns | None:
    """Return the cosines and sines for each patch, on the device of `like`; None without rotary."""
    if config.rotary == "none":
        return None
    side, head = config.image_size // config.patch_size, config.width // config.heads
    device = like.device
    speed = THETA ** (-torch.arange(head // 4, device=device) / (head // 4))
    places = torch.arange(side, dtype=torch.float32, device=device) + config.rotary_start
    turns = (places / side * (config.rotary_grid or side))[:, None] * speed  # [side, w/h/4]
    y = turns[:, None].expand(side, side, -1)
    x = turns[None].expand(side, side, -1)
    both = torch.cat([x, y] if config.rotary == "xy" else [y, x], dim=-1).flatten(0, 1)
    return both.cos().to(like.dtype), both.sin().to(like.dtype)


def rotate(x: Tensor, turns: Turns) -> Tensor:
    """Rotate the patches of queries or keys [b, h, t, w/h]; tokens before them stay."""
    cos, sin = turns
    before, patches = x.split([x.shape[2] - len(cos), len(cos)], dim=2)
    even, odd = patches[..., 0::2], patches[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
    return torch.cat([before, turned], dim=2)
