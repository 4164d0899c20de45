"""Gray levels are read from Pillow's own memory or copied, with the same values."""

from __future__ import annotations

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from tests.support import photograph
from zeroshot.engine.pillow_memory import EXPORTS, gray_levels

# Pillow's own memory holds four bytes a pixel; a copy, which older releases give, three.
CHANNELS = 4 if int(PIL.__version__.partition(".")[0]) >= EXPORTS else 3


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (640, 1), (1, 640), (500, 375)], ids=str)
def test_levels_equal_the_image(size: tuple[int, int]) -> None:
    image = Image.fromarray(photograph(*size, 0))

    found, _owner = gray_levels(image)
    assert found.shape[1] == CHANNELS
    shown = found[0, :3].permute(1, 2, 0).clone()

    assert torch.equal(shown, torch.from_numpy(np.array(image)))


def test_image_in_several_memory_blocks_is_copied() -> None:
    image = Image.fromarray(photograph(4000, 3000, 0))

    found, _owner = gray_levels(image)
    assert found.shape == (1, 3, 3000, 4000)
    assert torch.equal(found[0].permute(1, 2, 0), torch.from_numpy(np.array(image)))


def test_memory_of_another_layout_is_not_read() -> None:
    image = Image.fromarray(photograph(8, 8, 0)).convert("L")

    found, _owner = gray_levels(image.convert("RGB"))
    assert found.shape == (1, CHANNELS, 8, 8)
    with pytest.raises(RuntimeError):  # one channel: neither three nor four
        gray_levels(image)


def test_pillow_before_13_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(photograph(8, 8, 0))
    monkeypatch.setattr("PIL.__version__", "12.3.0")

    found, _owner = gray_levels(image)
    assert found.shape == (1, 3, 8, 8)


def test_memory_outlives_the_last_reference_of_the_caller() -> None:
    found, _owner = gray_levels(Image.fromarray(photograph(64, 64, 1)))
    expected = torch.from_numpy(photograph(64, 64, 1))
    assert torch.equal(found[0, :3].permute(1, 2, 0), expected)


def test_an_array_is_viewed_without_a_copy() -> None:
    array = photograph(7, 3)

    found, _owner = gray_levels(array)

    assert found.shape == (1, 3, 3, 7)
    assert torch.equal(found[0].permute(1, 2, 0), torch.from_numpy(array))
    assert found.data_ptr() == array.ctypes.data
