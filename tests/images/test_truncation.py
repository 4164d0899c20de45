"""Truncated files are errors, whatever LOAD_TRUNCATED_IMAGES says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.support import encoded, image_error_of, image_files, photograph, pixels_of

FILES = image_files()
BROKEN_AT = range(20)  # twentieths of a file


@pytest.mark.parametrize("twentieth", BROKEN_AT)
@pytest.mark.parametrize("kind", FILES)
def test_a_truncated_file_is_an_image_error(kind: str, twentieth: int) -> None:
    content = FILES[kind]
    if kind == "GIF":  # its first frame is complete long before the file is
        content = encoded(Image.fromarray(photograph(160, 120)), "GIF")
    error = image_error_of(content[: len(content) * twentieth // len(BROKEN_AT)])
    assert error.kind in ("truncated", "decode_failed", "not_image")


@pytest.mark.parametrize("twentieth", range(4, 20, 3))
@pytest.mark.parametrize(
    "kind", ["JPEG", "progressive", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP"]
)
def test_a_truncated_file_is_an_error_even_when_pillow_accepts_it(
    kind: str, twentieth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = FILES[kind]
    if kind == "GIF":
        content = encoded(Image.fromarray(photograph(160, 120)), "GIF")
    error = image_error_of(content[: len(content) * twentieth // 20])
    assert error.kind in ("truncated", "decode_failed", "not_image")
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", FILES)
def test_a_complete_file_is_read_when_pillow_accepts_truncated_ones(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pixels_of(FILES[kind])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    np.testing.assert_array_equal(pixels_of(FILES[kind]), wanted)
