"""Position embeddings for images of another size than the tower was trained on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

POSITIONS = {"visual.positional_embedding", "visual.attnpool.positional_embedding"}


def resize(embedding: Tensor, positions: int) -> Tensor:
    """Resample [1 + p, w] to [1 + positions, w], both square grids; the first row stays.

    That row is the class token's, or in a ResNet the mean's. Source: `resize_pos_embed` of
    open_clip: bicubic, antialiased.
    """
    first, grid = embedding[:1], embedding[1:].float()
    old, new = round(len(grid) ** 0.5), round(positions**0.5)
    if old == new:
        return embedding
    picture = grid.T.reshape(1, -1, old, old)  # [1, w, old, old]
    picture = F.interpolate(picture, size=(new, new), mode="bicubic", antialias=True)
    return torch.cat([first.float(), picture.flatten(2)[0].T])
