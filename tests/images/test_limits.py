"""The size limit is an argument, and its error says how to raise it."""

from __future__ import annotations

import numpy as np
import pytest

from zeroshot.errors import ImageError
from zeroshot.images import open_image
from zeroshot.images.limits import megapixels, too_many_pixels


def test_the_error_gives_size_limit_and_remedy() -> None:
    error = too_many_pixels(16_320, 12_240, "a.jpg", 64_000_000)
    assert str(error) == (
        "a.jpg: 16320x12240 is 199.757 megapixels, the limit is 64 megapixels; resize the image, "
        "or raise the limit with zeroshot.load(..., max_pixels=199756800) "
        "(on the command line --max-pixels)"
    )
    assert error.kind == "too_many_pixels"


def test_an_image_of_exactly_the_limit_is_accepted() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    assert open_image(image, max_pixels=24).size == (6, 4)
    with pytest.raises(ImageError, match=r"6x4 is .* the limit is"):
        open_image(image, max_pixels=23)


def test_pixels_are_given_in_megapixels() -> None:
    assert megapixels(64_000_001) == "64 megapixels"
    assert megapixels(108_000_000) == "108 megapixels"
