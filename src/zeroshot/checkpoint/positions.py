"""Resample position embeddings for images of another size than in training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resize(embedding: Tensor, positions: int, extra: int = 1) -> Tensor:
    """Resample position embeddings [extra + p, w] to [extra + positions, w].

    The first `extra` rows do not change: that of the class token, or of the mean in a ResNet. p and
    `positions` are square numbers. Source: `resize_pos_embed` of open_clip: bicubic, antialiased.
    """
    first, grid = embedding[:extra], embedding[extra:].float()
    old, new = round(len(grid) ** 0.5), round(positions**0.5)
    if old == new:
        return embedding
    image = grid.T.reshape(1, -1, old, old)  # [1, w, old, old]
    image = F.interpolate(image, size=(new, new), mode="bicubic", antialias=True)
    return torch.cat([first.float(), image.flatten(2)[0].T])
