"""A stored tensor is read as a whole or in pieces, from one part or several."""

from __future__ import annotations

import pytest
import torch

from zeroshot.checkpoint.tensors import StoredTensor


@pytest.mark.parametrize(
    "stored",
    [
        StoredTensor((torch.arange(12.0).view(4, 3),)),
        StoredTensor(tuple(torch.arange(12.0).half().view(3, 4).unbind(0))),
        StoredTensor((torch.arange(12).view(4, 3).to(torch.int8),), scale=torch.arange(4.0) / 8),
        StoredTensor((torch.arange(15.0).view(5, 3),), positions=9),
    ],
    ids=["whole", "parts", "int8", "resampled"],
)
def test_sample_equals_a_slice_of_the_whole(stored: StoredTensor) -> None:
    whole = stored.read()
    flat = whole.reshape(-1)

    assert whole.shape == stored.shape
    assert whole.dtype == torch.float32
    for start, stop in [(0, 2), (3, 9), (0, len(flat)), (len(flat) - 1, len(flat) + 4), (5, 5)]:
        assert torch.equal(stored.sample(start, stop), flat[start:stop])
