"""Background words that are near a label are left out."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from zeroshot.vocabulary import Background


def cone(count: int, seed: int = 0) -> torch.Tensor:
    """Return unit rows with cosine similarities of about 0.75."""
    generator = torch.Generator().manual_seed(seed)
    parts = 0.5 * F.normalize(torch.randn(count, 64, generator=generator), dim=1)
    return F.normalize(torch.cat([torch.full((count, 1), 0.866), parts], dim=1), dim=1)


def test_the_typical_similarity_is_that_of_two_words() -> None:
    assert abs(Background(("",) * 100, cone(100)).cosine - 0.75) < 0.02
    assert Background(("a",), cone(1)).cosine == 0


def test_words_near_a_label_or_with_its_name_are_left_out() -> None:
    rows = cone(100)
    near = F.normalize(rows[3] + 0.1 * rows[50], dim=0)
    words = Background(tuple(f"w{i}" for i in range(100)), rows)

    kept = words.without(near.unsqueeze(0), (("a label", "W7"),))

    assert set(words.words) - set(kept.words) == {"w3", "w7"}
    assert len(kept.words) == len(kept.rows) == 98
