"""Sizes of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import encoded, image_files, photograph
from zeroshot.bulk.sizes import read_size
from zeroshot.images import Sample, open_image


@pytest.mark.parametrize("kind", list(image_files()))
def test_the_size_of_a_file_is_that_of_its_image(kind: str) -> None:
    assert read_size(image_files()[kind]) == (160, 120)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_image(kind: str, orientation: int) -> None:
    image = Image.fromarray(photograph(60, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, kind, exif=exif)

    assert read_size(content) == open_image(content).size


def test_images_that_are_no_files_have_a_size() -> None:
    picture = photograph(60, 40)

    assert read_size(picture) == (60, 40)
    assert read_size(torch.from_numpy(picture.transpose(2, 0, 1))) == (60, 40)
    assert read_size(Image.fromarray(picture)) == (60, 40)
    assert read_size(Sample("a", picture)) == (60, 40)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"garbage", np.zeros((2, 3))])
def test_what_has_no_header_has_no_size_or_its_own(content: bytes) -> None:
    assert read_size(content) in ((None, None), (3, 2))


def test_other_inputs_have_no_size() -> None:
    assert read_size(Path("a.jpg")) == (None, None)
