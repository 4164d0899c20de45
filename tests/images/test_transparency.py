"""Transparent images are composited on request; the default warns once if much is hidden."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import encoded, photograph, pixels_of
from zeroshot.errors import InputError
from zeroshot.images import transparency
from zeroshot.images.preprocess import Preprocess
from zeroshot.images.transparency import parse_background


def logo(mode: str) -> Image.Image:
    """Return a black square on a transparent black background."""
    opacity = np.zeros((20, 20), np.uint8)
    opacity[5:15, 5:15] = 255
    if mode in ("P", "L", "I;16", "RGB"):  # one color is transparent
        black, clear = Image.new("L", (20, 20), 0), Image.new("L", (20, 20), 7)
        image = Image.composite(black, clear, Image.fromarray(opacity))
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        elif mode != "P":
            image = image.convert(mode)
        else:
            image = image.convert("P")
        image.info["transparency"] = {"I;16": 7 * 257, "RGB": (7, 7, 7)}.get(mode, 7)
        return image
    image = Image.new("LA" if mode in ("LA", "PA") else "RGBA", (20, 20))
    image.putalpha(Image.fromarray(opacity))
    return image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)


SHOWN = np.full((20, 20), 255)
SHOWN[5:15, 5:15] = 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "I;16", "RGBa"])
@pytest.mark.parametrize("parity", [False, True])
def test_a_background_is_visible_where_the_image_is_transparent(mode: str, parity: bool) -> None:
    found = pixels_of(logo(mode), background="white", parity=parity)
    np.testing.assert_array_equal(found, np.repeat(SHOWN[:, :, None], 3, 2))
    found = pixels_of(logo(mode), background=(10, 200, 30), parity=parity)
    assert found[0, 0].tolist() == [10, 200, 30]
    assert found[10, 10].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_files_are_composited(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = pixels_of(encoded(logo("RGBA"), kind, **options), background="white")
    np.testing.assert_array_equal(found[:, :, 1], SHOWN)


def test_arrays_and_half_transparent_pixels_are_composited() -> None:
    array = np.full((4, 4, 4), 128, np.uint8)
    array[:, :, :3] = 0
    assert set(pixels_of(array, background="white").ravel()) == {127}
    assert Preprocess(4, background="white")(array).max() > Preprocess(4)(array).max()


def test_an_opaque_image_is_not_changed() -> None:
    photo = photograph()
    np.testing.assert_array_equal(pixels_of(photo, background="white"), photo)


@pytest.mark.parametrize(
    ("background", "color"),
    [
        (None, None),
        ("white", (255, 255, 255)),
        ("black", (0, 0, 0)),
        ((1, 2, 3), (1, 2, 3)),
        (tuple(np.array([1, 2, 3], np.uint8)), (1, 2, 3)),
    ],
)
def test_backgrounds_are_names_or_colors(background: Any, color: Any) -> None:
    assert parse_background(background) == color


@pytest.mark.parametrize(
    "background", ["no color", (1, 2), (1, 2, 300), (0.5, 0.5, 0.5), 255, (True, 1, 1), "x" * 999]
)
def test_an_invalid_background_is_rejected(background: Any) -> None:
    with pytest.raises(InputError, match=r"expected background='white'.* got") as caught:
        parse_background(background)
    assert len(str(caught.value)) < 600


def test_hidden_colors_are_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transparency, "_warned", [])
    white = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    opaque = Image.fromarray(photograph()).convert("RGBA")
    with caplog.at_level(logging.WARNING, "zeroshot"):
        pixels_of(white)
        pixels_of(opaque)
        pixels_of(logo("I;16"))
        pixels_of(logo("RGBA"), background="white")
        pixels_of(logo("RGBA"), parity=True)
        assert caplog.messages == []
        for mode in ("RGBA", "P", "LA"):
            assert pixels_of(logo(mode)).max() <= 7
    assert len(caplog.messages) == 1
    assert "background='white'" in caplog.messages[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "I;16", "RGBa", "PA"])
def test_every_transparent_mode_is_checked_without_an_error(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transparency, "_warned", [])
    assert pixels_of(logo(mode)).shape == (20, 20, 3)
