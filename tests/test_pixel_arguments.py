"""Pixels of images that keep their aspect ratio: accepted shapes, and the errors for others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zeroshot.errors import InputError
from zeroshot.pixel_arguments import to_images


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_one_image_and_a_batch_of_one_are_the_same_list() -> None:
    pixels = drawn(3, 16, 8)

    for given in (pixels, pixels[None], [pixels], (pixels,)):
        (found,) = to_images(given, 8, 20)
        assert torch.equal(found, pixels)


def test_list_of_images_keeps_their_shapes_and_order() -> None:
    images = [drawn(3, 16, 8), drawn(3, 8, 160), drawn(3, 8, 8).double()]

    found = to_images(images, 8, 20)

    assert all(torch.equal(each, image) for each, image in zip(found, images, strict=True))


def test_empty_batch_has_no_images() -> None:
    assert to_images([], 8, 20) == to_images(drawn(0, 3, 8, 8), 8, 20) == []


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (drawn(3, 12, 8), r"pixels\[0\] of shape \(3, height, width\), both multiples of 8"),
        ([drawn(3, 8, 8), drawn(3, 8, 9)], r"pixels\[1\] .* got \(3, 8, 9\);"),
        (drawn(2, 3, 40, 40), r"at most 20 patches of 8 x 8, got \(3, 40, 40\), which has 25"),
        (drawn(8, 8), r"got \(8, 8\);"),
        (drawn(4, 8, 8), r"got \(4, 8, 8\);"),
        (drawn(3, 0, 8), r"got \(3, 0, 8\);"),
        ([drawn(1, 3, 8, 8)], r"got \(1, 3, 8, 8\);"),
        (drawn(1, 1, 3, 8, 8), r"got \(1, 3, 8, 8\);"),
        (torch.tensor(1.0), r"got \(\);"),
    ],
)
def test_other_shapes_are_rejected_with_their_place(given: Any, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        to_images(given, 8, 20)

    assert len(str(caught.value)) < 600
