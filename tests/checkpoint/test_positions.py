"""Position embeddings are resampled as open_clip resamples them."""

from __future__ import annotations

import pytest
import torch

from zeroshot.checkpoint import positions

# open_clip 3.3.0's own resize_pos_embed, torch 2.14.1, on the values of the tests below
UP = (
    0,
    0.004754677,
    0.09821434,
    0.3025447,
    0.4896483,
    0.4846807,
    0.7171448,
    1.123945,
    1.450053,
    1.797524,
    2.232458,
    2.93417,
    3.462748,
    3.120245,
    3.694184,
    4.598366,
    5.265949,
)
DOWN = (0, 1.242401, 2.349024, 8.170821, 10.9454)


def test_upsampling_matches_open_clip() -> None:
    values = torch.arange(10.0) ** 2 / 16  # class token and a grid of 3 x 3, one wide

    found = positions.resize(values[:, None], 16)[:, 0]

    torch.testing.assert_close(found, torch.tensor(UP), rtol=1e-6, atol=1e-6)


def test_downsampling_is_antialiased() -> None:
    values = torch.arange(17.0) ** 2 / 16  # class token and a grid of 4 x 4

    found = positions.resize(values[:, None], 4)[:, 0]

    torch.testing.assert_close(found, torch.tensor(DOWN), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(1, 4), (4, 1), (7, 12), (14, 24), (24, 7)])
def test_first_row_stays_and_the_grid_is_resampled(old: int, new: int) -> None:
    embedding = torch.randn(1 + old**2, 5, generator=torch.Generator().manual_seed(old))

    found = positions.resize(embedding, new**2)

    assert found.shape == (1 + new**2, 5)
    assert torch.equal(found[0], embedding[0])


def test_grid_of_the_same_size_is_returned_as_it_is() -> None:
    embedding = torch.randn(10, 4).half()

    assert positions.resize(embedding, 9) is embedding


@pytest.mark.parametrize("new", [2, 5, 9])
def test_constant_grid_stays_constant(new: int) -> None:
    found = positions.resize(torch.full((17, 3), 0.5), new**2)

    assert torch.allclose(found, torch.full((1 + new**2, 3), 0.5))


def test_rows_are_resampled_in_reading_order() -> None:
    grid = torch.arange(3.0).repeat_interleave(3)[:, None]  # each row of the image has its number

    found = positions.resize(torch.cat([torch.zeros(1, 1), grid]), 36)[1:].view(6, 6)

    assert torch.allclose(found, found[:, :1].expand(6, 6), atol=1e-6)
    assert bool((found[1:, 0] > found[:-1, 0]).all())
