"""Rotation of queries and keys: angles by place, pairs of neighbors, tokens before patches stay."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zeroshot.nn.rotary import THETA, angles, rotate
from zeroshot.spec import ViTConfig

CONFIG = ViTConfig(24, 8, 32, 1, 2, 32, "gelu", rotary="xy", rotary_start=1)  # 3 x 3, heads of 16
LIKE = torch.empty(0)


def test_without_rotary_there_are_no_angles() -> None:
    assert angles(replace(CONFIG, rotary="none"), LIKE) is None


@pytest.mark.parametrize(("rotary", "first"), [("xy", "x"), ("yx", "y")])
def test_first_half_of_a_head_turns_by_one_axis(rotary: str, first: str) -> None:
    turns = angles(replace(CONFIG, rotary=rotary), LIKE)  # type: ignore[arg-type]

    assert turns is not None
    cos, sin = turns
    assert cos.shape == sin.shape == (9, 8)
    for row in range(3):
        for column in range(3):
            places = (column + 1, row + 1) if first == "x" else (row + 1, column + 1)
            speeds = [THETA ** (-i / 4) for i in range(4)]
            expected = [math.cos(place * speed) for place in places for speed in speeds]
            assert cos[3 * row + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_places_are_counted_on_the_reference_grid() -> None:
    wide = replace(CONFIG, rotary_grid=6, rotary_start=0)
    fine = replace(wide, image_size=48, rotary_grid=0)  # a grid of 6 x 6

    coarse, exact = angles(wide, LIKE), angles(fine, LIKE)

    assert coarse is not None
    assert exact is not None
    picked = [12 * row + 2 * column for row in range(3) for column in range(3)]
    assert torch.allclose(coarse[0], exact[0][picked], atol=1e-6)


def test_pairs_of_neighbors_turn_as_complex_numbers() -> None:
    turns = angles(CONFIG, LIKE)
    assert turns is not None
    x = torch.randn(2, 2, 9, 16, generator=torch.Generator().manual_seed(0))

    found = torch.view_as_complex(rotate(x, turns).unflatten(-1, (8, 2)))

    expected = torch.view_as_complex(x.unflatten(-1, (8, 2))) * torch.complex(*turns)
    assert torch.allclose(found, expected, atol=1e-6)


def test_tokens_before_the_patches_stay() -> None:
    turns = angles(CONFIG, LIKE)
    assert turns is not None
    x = torch.randn(1, 2, 11, 16, generator=torch.Generator().manual_seed(0))

    found = rotate(x, turns)

    assert torch.equal(found[:, :, :2], x[:, :, :2])
    assert torch.equal(found[:, :, 2:], rotate(x[:, :, 2:], turns))
    assert torch.allclose(found.norm(dim=-1), x.norm(dim=-1), atol=1e-5)


def test_angles_have_the_precision_of_the_tower() -> None:
    turns = angles(CONFIG, torch.empty(0, dtype=torch.bfloat16))

    assert turns is not None
    assert {part.dtype for part in turns} == {torch.bfloat16}
