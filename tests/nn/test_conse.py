"""The embedded model's tower: the best classes, weighed by their scores, as a mean of names."""

from __future__ import annotations

import pytest
import torch

from zeroshot.nn.conse import ConSETower
from zeroshot.spec import ConSEConfig


def tower(top_k: int, temperature: float = 1.0, concepts: int = 4) -> ConSETower:
    found = ConSETower(ConSEConfig(32, 0, concepts, temperature, top_k), 3)
    with torch.no_grad():
        found.concepts.copy_(torch.eye(concepts)[:, :3])
    return found.eval().requires_grad_(False)


def test_embedding_is_the_mean_of_the_best_classes_by_hand() -> None:
    # log 3 and log 1 of the two best: weights 3/4 and 1/4
    scores = torch.tensor([[1.0986123, -9.0, 0.0, -1.0]])

    found = tower(top_k=2).combine(scores)

    assert torch.allclose(found, torch.tensor([[0.75, 0.0, 0.25]]), atol=1e-6)


def test_temperature_divides_the_scores() -> None:
    scores = torch.tensor([[2 * 1.0986123, 0.0, -9.0, -9.0]])

    found = tower(top_k=2, temperature=2.0).combine(scores)

    assert torch.allclose(found, torch.tensor([[0.75, 0.25, 0.0]]), atol=1e-6)


def test_one_class_gives_its_own_name() -> None:
    scores = torch.tensor([[0.0, 0.1, 0.0, -1.0], [5.0, 0.1, 0.0, -1.0]])

    found = tower(top_k=1).combine(scores)

    assert torch.equal(found, torch.eye(3)[[1, 0]])


def test_all_classes_give_the_softmax_over_all() -> None:
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    network = tower(top_k=4)

    assert torch.allclose(network.combine(scores), scores.softmax(dim=1) @ network.concepts)


@pytest.mark.parametrize("size", [32, 40])
@pytest.mark.parametrize("count", [1, 3])
def test_output_is_one_row_per_image(size: int, count: int) -> None:
    found = tower(top_k=2)(torch.randn(count, 3, size, size))

    assert found.shape == (count, 3)


def test_parameters_are_the_classifier_and_the_names() -> None:
    names = tower(top_k=1).state_dict().keys()

    assert "concepts" in names
    assert all(name == "concepts" or name.startswith("classifier.") for name in names)
