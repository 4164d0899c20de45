"""A picture's levels are read where Pillow keeps them, or copied, and are the same either way."""

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
def test_the_levels_are_those_of_the_picture(size: tuple[int, int]) -> None:
    picture = Image.fromarray(photograph(*size, 0))

    with gray_levels(picture) as found:
        assert found.shape[1] == CHANNELS
        shown = found[0, :3].permute(1, 2, 0).clone()

    assert torch.equal(shown, torch.from_numpy(np.array(picture)))


def test_a_picture_in_several_pieces_is_copied() -> None:
    picture = Image.fromarray(photograph(4000, 3000, 0))

    with gray_levels(picture) as found:
        assert found.shape == (1, 3, 3000, 4000)
        assert torch.equal(found[0].permute(1, 2, 0), torch.from_numpy(np.array(picture)))


def test_memory_that_lies_otherwise_is_not_read_as_it_is() -> None:
    picture = Image.fromarray(photograph(8, 8, 0)).convert("L")

    with gray_levels(picture.convert("RGB")) as found:
        assert found.shape == (1, CHANNELS, 8, 8)
    with pytest.raises(RuntimeError), gray_levels(picture):  # one channel: neither three nor four
        pass


def test_pillow_before_13_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(photograph(8, 8, 0))
    monkeypatch.setattr("PIL.__version__", "12.3.0")

    with gray_levels(picture) as found:
        assert found.shape == (1, 3, 8, 8)


def test_the_memory_outlives_the_callers_last_reference() -> None:
    with gray_levels(Image.fromarray(photograph(64, 64, 1))) as found:
        wanted = torch.from_numpy(photograph(64, 64, 1))
        assert torch.equal(found[0, :3].permute(1, 2, 0), wanted)
