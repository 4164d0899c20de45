"""Text and examples are mixed without the modality gap, and each example can be left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.simulation import simulate
from zeroshot.mixing import logits_without_self, mix


def accuracy(rows: torch.Tensor, images: torch.Tensor, truth: torch.Tensor) -> float:
    return float(((images @ rows.T).argmax(dim=1) == truth).float().mean())


def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the labels, images, truth, and which images are examples of half of the labels."""
    drawn = simulate(100, 30, seed=seed)
    truth = torch.from_numpy(drawn.truth)
    example = torch.zeros(len(truth), dtype=torch.bool)
    for label in range(0, 100, 2):
        example[(truth == label).nonzero()[:4]] = True
    return drawn.labels, drawn.images, truth, example


@pytest.mark.parametrize("seed", range(5))
def test_examples_of_half_of_the_labels_do_not_attract_other_images(seed: int) -> None:
    labels, images, truth, example = draw(seed)
    tested = images[~example], truth[~example]
    before = accuracy(labels, *tested)

    mixed = mix(labels, images[example], truth[example])

    assert accuracy(mixed.rows, *tested) >= before - 0.01
    totals = torch.zeros_like(labels).index_add_(0, truth[example], images[example])
    with_gap = F.normalize(4 * labels + totals, dim=1)
    assert accuracy(with_gap, *tested) < before - 0.2


def test_labels_without_examples_keep_their_text() -> None:
    labels, images, truth, example = draw(0)
    mixed = mix(labels, images[example], truth[example])
    assert torch.equal(mixed.rows[1::2], labels[1::2])
    np.testing.assert_allclose(mixed.rows.norm(dim=1), 1, atol=1e-6)


def test_the_weight_of_the_text_decides_between_text_and_examples() -> None:
    labels, images, truth, example = draw(0)
    heavy = mix(labels, images[example], truth[example], text_weight=1e6)
    torch.testing.assert_close(heavy.rows, labels, atol=1e-4, rtol=0)


def test_leaving_an_example_out_equals_mixing_without_it() -> None:
    labels, images, truth, example = draw(1)
    chosen, own = images[example], truth[example]
    mixed = mix(labels, chosen, own)

    found = logits_without_self(mixed, chosen)

    for i in (0, 17, 99):
        rest = mixed.sums[own[i]] - mixed.shifted[i]
        wanted = chosen[i] @ F.normalize(rest, dim=0)
        torch.testing.assert_close(found[i, own[i]], wanted, atol=1e-6, rtol=0)
        others = own[i] != torch.arange(100)
        torch.testing.assert_close(found[i, others], (chosen[i] @ mixed.rows.T)[others])
