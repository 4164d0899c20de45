"""Mix the text embeddings of labels with the embeddings of a few example images.

Images and texts lie in different cones of the embedding space. A label with examples would
otherwise attract all images, because images are closer to images than to any text. So the mean
difference between texts and examples is removed first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TEXT_WEIGHT = 4.0  # images that the text counts as


@dataclass(frozen=True)
class Mix:
    """The rows of labels after mixing, and what leaving an example out needs.

    Args:
        rows: Unit rows of all labels: float32 [L, d].
        sums: Rows before they are scaled to unit length, of labels with examples: [L, d].
        shifted: Examples moved by the difference between texts and images: [n, d].
        truth: Label of each example: int64 [n].
    """

    rows: Tensor
    sums: Tensor
    shifted: Tensor
    truth: Tensor


def mix(weight: Tensor, examples: Tensor, truth: Tensor, text_weight: float = TEXT_WEIGHT) -> Mix:
    """Average text and examples of each label; labels without examples keep their text.

    Args:
        weight: Text embeddings, unit rows [L, d].
        examples: Image embeddings, unit rows [n, d].
        truth: Label of each example: int64 [n].
        text_weight: Number of images that the text counts as.
    """
    counts = torch.bincount(truth, minlength=len(weight)).unsqueeze(1)  # [L, 1]
    totals = torch.zeros_like(weight).index_add_(0, truth, examples)
    have = counts[:, 0] > 0
    means = totals[have] / counts[have]
    shift = (weight[have] - means).mean(dim=0)  # [d], the modality gap
    sums = text_weight * weight + totals + counts * shift
    rows = torch.where(counts > 0, F.normalize(sums, dim=1), weight)
    return Mix(rows, sums, examples + shift, truth)


def logits_without_self(mixed: Mix, examples: Tensor) -> Tensor:
    """Return the cosine similarities of examples with labels, each without itself: [n, L]."""
    similarities = examples @ mixed.rows.T
    own = F.normalize(mixed.sums[mixed.truth] - mixed.shifted, dim=1)  # [n, d]
    similarities[torch.arange(len(examples)), mixed.truth] = (examples * own).sum(dim=1)
    return similarities
