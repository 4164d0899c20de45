"""Images that are made when they are read, and their failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zeroshot
from examples.paper.datasets.images import LazyImage, keys, lazy_images
from zeroshot.errors import ImageError, InputError, image_error


@pytest.mark.parametrize("shape", [(8, 6, 3), (8, 6)], ids=["color", "gray"])
def test_lazy_image_is_read_without_loss(tiny: zeroshot.Model, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    array, image = LazyImage("a", lambda: pixels), LazyImage("b", lambda: Image.fromarray(pixels))
    embeddings = tiny.encode_image([array, image, pixels])

    assert (embeddings == embeddings[2]).all()


@pytest.mark.parametrize(
    "error",
    [InputError("the row is short"), image_error("decode_failed", "a/1", "the row is short")],
    ids=["input", "image"],
)
def test_lazy_image_that_cannot_be_made_is_a_failure_with_its_reason(
    tiny: zeroshot.Model, error: Exception
) -> None:
    def make() -> Image.Image:
        raise error

    (outcome,) = tiny.classifier(["a", "b"]).stream([LazyImage("a/1", make)], on_error="yield")

    assert isinstance(outcome, zeroshot.Failure)
    assert outcome.source == "a/1"
    assert isinstance(outcome.error, ImageError)
    assert str(outcome.error) == "a/1: the row is short"


def test_image_at_a_position_is_made_when_it_is_read() -> None:
    made: list[int] = []

    def decode(position: int) -> np.ndarray:
        made.append(position)
        return np.full((2, 2), position, np.uint8)

    images = lazy_images(keys(Path("folder/batch.bin"), 3), decode)

    assert [image.name for image in images] == ["batch.bin/0", "batch.bin/1", "batch.bin/2"]
    assert not made
    assert images[2].read().endswith(bytes([2] * 4))
    assert made == [2]
