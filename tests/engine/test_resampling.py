"""Pixels resampled by torch match the reference, and JPEGs are decoded at reduced size."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import zeroshot
from tests.support import encoded, photograph
from zeroshot.engine import resample
from zeroshot.engine.resampling import levels
from zeroshot.images.preprocess import Preprocess

LEVEL = 1 / 255 / 0.26  # one gray level, normalized, in the channel with the smallest std
SIZES = [(1, 1), (1, 9), (640, 1), (32, 32), (31, 33), (64, 48), (500, 375), (97, 977), (3, 2)]
KINDS = {
    "bicubic": Preprocess(32),
    "bilinear": Preprocess(32, interpolation="bilinear"),
    "squash": Preprocess(32, resize_mode="squash"),
    "large": Preprocess(224),
}


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(photograph(width, height, seed))


@pytest.mark.parametrize("preprocess", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_match_the_reference_to_one_gray_level(
    size: tuple[int, int], preprocess: Preprocess
) -> None:
    image = photo(*size)

    found = resample(image, preprocess)

    assert found.dtype == np.float32
    assert np.abs(found - preprocess(image)).max() <= 1.01 * LEVEL


@pytest.mark.parametrize("preprocess", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_levels_match_the_exact_levels_to_one_gray_level(
    size: tuple[int, int], preprocess: Preprocess
) -> None:
    image = photo(*size)

    found, exact = levels(image, preprocess), preprocess.levels(image)

    assert found.dtype == exact.dtype == np.uint8
    assert found.shape == exact.shape == (3, preprocess.size, preprocess.size)
    assert found.flags.c_contiguous
    assert exact.flags.c_contiguous
    assert np.abs(found.astype(int) - exact).max() <= 1


@pytest.mark.parametrize("preprocess", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_jpeg_file_gives_the_levels_of_its_image(
    size: tuple[int, int], preprocess: Preprocess
) -> None:
    content = encoded(photo(*size), "JPEG")

    image = preprocess.open(content)

    assert np.array_equal(levels(content, preprocess), levels(image, preprocess))
    assert np.array_equal(preprocess.levels(content), preprocess.levels(image))


def test_levels_are_exact_with_the_parity_option() -> None:
    image, parity = photo(90, 70).convert("P"), Preprocess(32, parity=True)

    assert np.array_equal(levels(image, parity), parity.levels(image))


def worst_level(width: int, height: int, seed: int) -> float:
    """Return the largest difference to the reference, for noise, in gray levels."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image, preprocess = Image.fromarray(noise), Preprocess(24)
    return float(np.abs(resample(image, preprocess) - preprocess(image)).max()) / LEVEL


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 99))
def test_pixels_of_any_size_match_the_reference_to_one_gray_level(
    width: int, height: int, seed: int
) -> None:
    assert worst_level(width, height, seed) <= 1.01


@pytest.mark.parametrize("size", [(25, 51), (26, 86), (36, 201), (58, 149)], ids=str)
def test_pixels_of_tall_images_match_the_reference_to_one_gray_level(size: tuple[int, int]) -> None:
    assert worst_level(*size, 59) <= 1.01


def test_extreme_aspect_ratio_uses_little_memory() -> None:
    assert resample(photo(20_000, 1), Preprocess(224)).shape == (3, 224, 224)


def test_fast_decoding_keeps_twice_the_size_and_stays_close() -> None:
    jpeg = encoded(photo(1200, 900), "JPEG", quality=90)
    exact, fast = Preprocess(64), Preprocess(64, decode="fast")

    opened = fast.open(jpeg)

    assert opened.size == (300, 225)  # a quarter: at an eighth the short side would be below 128
    assert np.abs(fast(jpeg) - exact(jpeg)).mean() < 2 * LEVEL


def test_fast_decoding_does_not_apply_to_small_or_lossless_images() -> None:
    small, png = encoded(photo(120, 90), "JPEG"), encoded(photo(1200, 900), "PNG")
    fast = Preprocess(64, decode="fast")

    assert fast.open(small).size == (120, 90)
    assert fast.open(png).size == (1200, 900)


def test_float32_pixels_equal_the_reference_and_bfloat16_pixels_are_close(
    tiny: zeroshot.Model,
) -> None:
    image = photo(500, 375)
    quick = tiny.to(dtype="bfloat16")

    assert np.array_equal(tiny.prepare(image), tiny.preprocess(image))
    assert np.abs(quick.prepare(image) - tiny.preprocess(image)).max() <= 1.01 * LEVEL


def test_parity_option_applies_in_every_precision(tiny: zeroshot.Model, tiny_path: Path) -> None:
    quick = zeroshot.load(tiny_path, device="cpu", dtype="bfloat16", parity=True)
    palette = photo(90, 70).convert("P")
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")

    assert np.array_equal(
        quick.prepare(buffer.getvalue()),
        dataclasses.replace(tiny.preprocess, parity=True)(buffer.getvalue()),
    )
