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
        StoredTensor((torch.arange(6.0).view(2, 3).half(), torch.arange(6.0).view(2, 3) / 3)),
        StoredTensor((torch.arange(12).view(4, 3).to(torch.int8),), scale=torch.arange(4.0) / 8),
        StoredTensor((torch.arange(15.0).view(5, 3),), positions=9),
    ],
    ids=["whole", "parts", "parts of two dtypes", "int8", "resampled"],
)
def test_sample_equals_a_slice_of_the_whole(stored: StoredTensor) -> None:
    whole = stored.read()
    flat = whole.reshape(-1)

    assert whole.shape == stored.shape
    assert whole.dtype == torch.float32
    for start, stop in [(0, 2), (3, 9), (0, len(flat)), (len(flat) - 1, len(flat) + 4), (5, 5)]:
        assert torch.equal(stored.sample(start, stop), flat[start:stop])


@pytest.mark.parametrize(
    "stored",
    [
        StoredTensor((torch.arange(12.0).view(4, 3).half(),)),
        StoredTensor((torch.arange(6.0).view(2, 3).half(), torch.arange(6.0).view(2, 3) / 3)),
        StoredTensor((torch.arange(12).view(4, 3).to(torch.int8),), scale=torch.arange(4.0) / 8),
        StoredTensor((torch.arange(15.0).view(5, 3),), positions=4, extra=0),
    ],
    ids=["float16", "parts", "int8", "resampled"],
)
def test_rows_equal_those_of_the_whole(stored: StoredTensor) -> None:
    ids = torch.tensor([[3, 0], [1, 3]])

    assert stored.rows(ids).dtype == torch.float32
    assert torch.equal(stored.rows(ids), stored.read()[ids])


def test_parts_are_read_as_one_tensor() -> None:
    parts = tuple(torch.full((n, 3), float(n)) for n in (1, 2, 3))

    stored = StoredTensor(parts)

    assert stored.shape == (6, 3)
    assert torch.equal(stored.read(), torch.cat(parts))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_values_are_read_as_float32(dtype: torch.dtype) -> None:
    stored = StoredTensor((torch.arange(6).to(dtype).view(2, 3),))

    assert stored.dtype == dtype
    assert stored.read().dtype == torch.float32
    assert torch.equal(stored.read(), torch.arange(6.0).view(2, 3))


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
def test_int8_rows_are_multiplied_by_their_scales(shape: tuple[int, ...]) -> None:
    stored = StoredTensor((torch.ones(shape, dtype=torch.int8),), scale=torch.arange(4.0))

    found = stored.read()

    assert found.shape == shape
    assert torch.equal(found.reshape(4, -1)[:, 0], torch.arange(4.0))


def test_copy_does_not_keep_memory_of_which_it_is_a_part() -> None:
    whole = torch.arange(1000.0)
    stored = StoredTensor((whole[10:20], torch.ones(3)))

    alone = stored.compact()

    assert [part.untyped_storage().nbytes() for part in alone.parts] == [40, 12]
    assert alone.parts[1] is stored.parts[1]
    assert torch.equal(alone.read(), stored.read())


def test_resampled_positions_have_the_shape_that_is_announced() -> None:
    stored = StoredTensor((torch.rand(10, 4),), positions=25)

    assert stored.shape == stored.read().shape == (26, 4)
