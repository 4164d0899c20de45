"""Resample position embeddings for images of another size than in training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resize(embedding: Tensor, positions: int) -> Tensor:
    """Resample position embeddings [1 + p, w] to [1 + positions, w].

    The first row does not change. p and `positions` are square numbers. The first row is that of
    the class token, or of the mean in a ResNet. Source: `resize_pos_embed` of open_clip: bicubic,
    antialiased.
    """
    first, grid = embedding[:1], embedding[1:].float()
    old, new = round(len(grid) ** 0.5), round(positions**0.5)
    if old == new:
        return embedding
    image = grid.T.reshape(1, -1, old, old)  # [1, w, old, old]
    image = F.interpolate(image, size=(new, new), mode="bicubic", antialias=True)
    return torch.cat([first.float(), image.flatten(2)[0].T])
