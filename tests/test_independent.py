"""Labels are scored against words and unlike labels, not against those that overlap them."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from zeroshot.independent import independent_logits
from zeroshot.vocabulary import Background

WORDS = F.normalize(torch.randn(50, 32, generator=torch.Generator().manual_seed(0)), dim=1)
BACKGROUND = Background(tuple(f"w{i}" for i in range(50)), WORDS)
DOG = F.normalize(torch.randn(32, generator=torch.Generator().manual_seed(1)), dim=0)
ANIMAL = F.normalize(DOG + 0.5 * WORDS[0], dim=0)
BOAT = F.normalize(torch.randn(32, generator=torch.Generator().manual_seed(2)), dim=0)


def probabilities(weight: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    labels, words = 20 * windows @ weight.T, 20 * windows @ WORDS.T
    return independent_logits(labels, words, weight, BACKGROUND).sigmoid()


def test_overlapping_labels_do_not_compete() -> None:
    weight = torch.stack([DOG, ANIMAL, BOAT])
    found = probabilities(weight, DOG.view(1, 1, -1))
    assert found[0, 0] > 0.95
    assert found[0, 1] > 0.9
    assert found[0, 2] < 0.05
    assert (20 * DOG @ weight.T).softmax(0)[1] < 0.3  # with softmax, they would


def test_the_best_window_counts() -> None:
    weight = torch.stack([DOG, BOAT])
    both = torch.stack([F.normalize(DOG + BOAT, dim=0), DOG, BOAT]).unsqueeze(0)
    found = probabilities(weight, both)
    assert (found > 0.95).all()


def test_words_that_fit_better_lower_the_score() -> None:
    found = probabilities(DOG.unsqueeze(0), WORDS[5].view(1, 1, -1))
    assert found[0, 0] < 0.01


def test_logits_are_finite() -> None:
    weight = DOG.unsqueeze(0)
    labels, words = torch.full((1, 1, 1), 1e4), torch.full((1, 1, 50), -1e4)
    assert torch.isfinite(independent_logits(labels, words, weight, BACKGROUND)).all()
    assert torch.isfinite(independent_logits(-labels, -words, weight, BACKGROUND)).all()
