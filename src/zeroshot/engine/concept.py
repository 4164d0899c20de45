"""The embedded model's image tower for a CPU: its convolutions channels last, the rest as it is."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from zeroshot.engine.blocks import Filled, in_memory
from zeroshot.nn.concept import ConceptTower


class FastConceptTower:
    """Pixels [b, 3, s, s] become embeddings [b, d]; equal to the plain tower but for rounding.

    The class scores and what follows stay float32: the softmax over them magnifies rounding, and
    they cost nothing.
    """

    def __init__(self, tower: ConceptTower, dtype: torch.dtype, filled: Filled = in_memory) -> None:
        self.dtype = dtype
        with filled(tower):
            self.tower = copy.deepcopy(tower)
        self.convolutions = copy.deepcopy(self.tower.classifier).to(dtype)
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        x = pixels.to(self.dtype, memory_format=torch.channels_last)
        scores = self.tower.classifier.score(self.convolutions.features(x).float())
        return self.tower.place(scores)
