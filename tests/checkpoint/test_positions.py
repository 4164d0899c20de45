"""Position embeddings are resampled as open_clip resamples them."""

from __future__ import annotations

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
