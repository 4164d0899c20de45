"""Images are embedded as the whole, four quarters and the middle."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from tests.support import FakeEncoder
from zeroshot.embedding import embed
from zeroshot.errors import ImageError
from zeroshot.windows import WINDOWS, WindowEncoder


def four_colors() -> Image.Image:
    image = Image.new("RGB", (40, 40))
    for x, y, color in ((0, 0, "red"), (20, 0, "lime"), (0, 20, "blue"), (20, 20, "white")):
        image.paste(color, (x, y, x + 20, y + 20))
    return image


def test_windows_are_the_whole_the_quarters_and_the_middle(encoder: FakeEncoder) -> None:
    pixels = WindowEncoder(encoder).prepare(four_colors())

    assert pixels.shape == (WINDOWS, 3, 2, 2)
    means = pixels.mean(axis=(2, 3))
    np.testing.assert_allclose(means[1:5], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], atol=0.01)
    np.testing.assert_allclose(means[0], [0.5, 0.5, 0.5], atol=0.02)
    np.testing.assert_allclose(means[5], [0.5, 0.5, 0.5], atol=0.02)


def test_each_image_gets_one_row_per_window(encoder: FakeEncoder) -> None:
    batches = list(embed(WindowEncoder(encoder), [four_colors(), four_colors()]))
    rows = torch.cat([batch.rows for batch in batches if batch.rows is not None])

    assert rows.shape == (2, WINDOWS, 3)
    torch.testing.assert_close(rows[0], rows[1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_windows_are_upright(orientation: int, encoder: FakeEncoder) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    four_colors().save(buffer, "PNG", exif=exif)

    pixels = WindowEncoder(encoder).prepare(buffer.getvalue())

    with Image.open(io.BytesIO(buffer.getvalue())) as stored:
        upright = ImageOps.exif_transpose(stored)
    np.testing.assert_array_equal(pixels, WindowEncoder(encoder).prepare(upright))


def test_tiny_images_are_not_divided(encoder: FakeEncoder) -> None:
    pixels = WindowEncoder(encoder).prepare(Image.new("RGB", (1, 9), "red"))
    assert (pixels == pixels[:1]).all()


def test_images_that_cannot_be_read_are_errors(encoder: FakeEncoder) -> None:
    with pytest.raises(ImageError, match="no such image file"):
        list(embed(WindowEncoder(encoder), ["missing.jpg"]))
    (batch,) = embed(WindowEncoder(encoder), ["missing.jpg"], on_error="yield")
    assert batch.rows is None
