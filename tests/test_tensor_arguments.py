"""Embeddings and logits of any real type become float32 tensors; other values are rejected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zeroshot.errors import InputError
from zeroshot.tensor_arguments import kind_of, to_embeddings, to_float, to_logits


@pytest.mark.parametrize(
    "given",
    [
        np.eye(3),
        np.eye(3, dtype=np.float16),
        np.eye(3, dtype=np.uint8),
        torch.eye(3, dtype=torch.bfloat16),
        torch.eye(3, dtype=torch.int64),
    ],
    ids=lambda given: str(given.dtype),
)
def test_real_numbers_become_float32(given: Any) -> None:
    found = to_embeddings(given, 3)

    assert found.dtype == torch.float32
    assert torch.equal(found, torch.eye(3))
    assert torch.equal(to_logits(given, 3), torch.eye(3))
    assert to_embeddings(given[0], 3).shape == (3,)


@pytest.mark.parametrize(
    "given",
    [
        [[1.0, 0.0, 0.0]],
        np.array(["a"]),
        np.eye(3, dtype=complex),
        torch.eye(3).to_sparse(),
        torch.eye(3, dtype=torch.complex64),
        torch.empty(3, 3, device="meta"),
        None,
    ],
    ids=str,
)
def test_other_values_are_rejected(given: Any) -> None:
    assert to_float(given) is None
    with pytest.raises(InputError, match=r"expected embeddings as a tensor or an array \[n, 3\]"):
        to_embeddings(given, 3)
    with pytest.raises(InputError, match=r"expected logits as a tensor or an array \[n, 3\]"):
        to_logits(given, 3)


@pytest.mark.parametrize("shape", [(2, 4), (2, 2, 3), ()])
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="got float32 "):
        to_embeddings(torch.zeros(shape), 3, "texts")


def test_a_value_is_described_by_its_type_and_shape() -> None:
    assert kind_of(torch.zeros(2, 3)) == "float32 (2, 3)"
    assert kind_of(np.zeros(2)) == "float64 (2,)"
    assert kind_of("text") == "str"
