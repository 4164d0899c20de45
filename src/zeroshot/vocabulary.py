"""Background words: names of things that an image may show instead of one of the labels.

They are the labels of the shipped label sets (`prompts.background_words`). A word that is close to
a label is left out, because it would compete with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zeroshot import predictions
from zeroshot.similarity import background_cosine, relative_similarity

NONE = predictions.NONE
NEAR = 0.65  # relative similarity to a label above which a word is left out
PROMPTS = "photo"  # templates of the words


@dataclass(frozen=True, eq=False)
class Background:
    """Words and their text embeddings, unit rows float32 [B, d]."""

    words: tuple[str, ...]
    rows: Tensor

    @cached_property
    def cosine(self) -> float:
        """Median cosine of two words; 0 for fewer than two."""
        return background_cosine(self.rows.numpy()) if len(self.words) > 1 else 0.0

    def similarity(self, names: Tensor, others: Tensor) -> Tensor:
        """Return the relative similarity of texts [n, d] and [m, d]: float32 [n, m]."""
        return torch.from_numpy(
            relative_similarity(names.cpu().numpy(), others.cpu().numpy(), self.cosine)
        )

    def without(self, weight: Tensor, names: tuple[tuple[str, ...], ...]) -> Background:
        """Return the words that are not near a label, given the labels' rows [L, d] and names."""
        near = (self.similarity(self.rows, weight) > NEAR).any(dim=1).tolist()
        taken = {name.casefold() for each in names for name in each}
        kept = [
            i for i, word in enumerate(self.words) if not near[i] and word.casefold() not in taken
        ]
        return Background(tuple(self.words[i] for i in kept), self.rows[kept])
