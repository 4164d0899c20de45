"""Pixels equal a plain reference of OpenAI's preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import encoded, photograph
from zeroshot.errors import ImageError, InputError
from zeroshot.images.preprocess import Preprocess, choose_grid
from zeroshot.spec import OPENAI_MEAN, OPENAI_STD


@pytest.mark.parametrize(
    "options",
    [{"decode": "draft"}, {"parity": 1}, {"max_pixels": 0}, {"max_pixels": "64"}],
    ids=str,
)
def test_an_invalid_option_is_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))}=.* must be "):
        Preprocess(224, **options)


def plain(image: Image.Image, size: int, mean: Any = OPENAI_MEAN, std: Any = OPENAI_STD) -> Any:
    """Preprocess as torchvision's Resize, CenterCrop, ToTensor and Normalize would, one by one."""
    width, height = image.size
    if width <= height:
        image = image.resize((size, int(size * height / width)), Image.Resampling.BICUBIC)
    else:
        image = image.resize((int(size * width / height), size), Image.Resampling.BICUBIC)
    width, height = image.size
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    image = image.crop((left, top, left + size, top + size)).convert("RGB")
    values = np.asarray(image).transpose(2, 0, 1).astype(np.float64) / 255
    return (values - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))


@pytest.mark.parametrize("size", [32, 33, 224])
@pytest.mark.parametrize(
    "shape",
    [(61, 47), (47, 61), (40, 40), (32, 32), (7, 9), (1, 1), (641, 479), (500, 9), (33, 32)],
)
def test_pixels_equal_the_plain_reference(shape: tuple[int, int], size: int) -> None:
    photo = photograph(*shape)
    found = Preprocess(size)(photo)
    assert found.dtype == np.float32
    assert found.shape == (3, size, size)
    np.testing.assert_allclose(found, plain(Image.fromarray(photo), size), atol=2e-6)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_pixels_of_any_size_equal_the_plain_reference(width: int, height: int, size: int) -> None:
    image = Image.fromarray(photograph(width, height))
    np.testing.assert_allclose(Preprocess(size)(image), plain(image, size), atol=2e-6)


def test_known_gray_levels_give_known_values() -> None:
    white, black = np.full((9, 9), 255, np.uint8), np.zeros((9, 9), np.uint8)
    preprocess = Preprocess(4)
    np.testing.assert_allclose(
        preprocess(white)[:, 0, 0], [1.930336, 2.074884, 2.145897], atol=1e-6
    )
    np.testing.assert_allclose(
        preprocess(black)[:, 0, 0], [-1.792263, -1.752097, -1.480220], atol=1e-6
    )


def test_mean_and_deviation_of_the_checkpoint_are_used() -> None:
    photo = photograph()
    found = Preprocess(24, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.125))(photo)
    wanted = plain(Image.fromarray(photo), 24, (0.5, 0.4, 0.3), (0.5, 0.25, 0.125))
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_squash_keeps_the_whole_image() -> None:
    halves = np.zeros((20, 100, 3), np.uint8)
    halves[:, 90:] = 255  # a center crop would not see it
    square = np.asarray(Preprocess(10, resize_mode="squash").resize(Image.fromarray(halves)))
    assert square.shape == (10, 10, 3)
    assert square[5, 9, 0] > 200
    assert square[5, 0, 0] < 5
    cropped = np.asarray(Preprocess(10).resize(Image.fromarray(halves)))
    assert cropped.max() == 0


def test_bilinear_differs_from_bicubic_and_equals_pillow() -> None:
    image = Image.fromarray(photograph(64, 64))
    found = np.asarray(Preprocess(16, interpolation="bilinear").resize(image))
    np.testing.assert_array_equal(found, image.resize((16, 16), Image.Resampling.BILINEAR))
    assert (found != np.asarray(Preprocess(16).resize(image))).any()


def test_resampling_is_antialiased() -> None:
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    square = np.asarray(Preprocess(32).resize(Image.fromarray(checks).convert("RGB")))
    assert np.abs(square.astype(int) - 128).max() < 12


def test_palette_and_one_bit_images_are_resampled_in_rgb() -> None:
    smooth = Image.fromarray(photograph(300, 200, 3))
    for mode in ("P", "1"):
        image = smooth.convert(mode)
        ours = np.asarray(Preprocess(50)(image))
        openai = np.asarray(Preprocess(50, parity=True)(image))
        np.testing.assert_allclose(ours, plain(image.convert("RGB"), 50), atol=2e-6)
        np.testing.assert_allclose(openai, plain(image, 50), atol=2e-6)
        assert np.abs(ours - openai).mean() > 0.05  # what OpenAI's order costs


def test_only_parity_ignores_the_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(photograph(60, 60))
    content = encoded(stored, "PNG", exif=exif.tobytes())
    lying = plain(stored, 30)
    np.testing.assert_allclose(Preprocess(30, parity=True)(content), lying, atol=2e-6)
    upright = plain(stored.rotate(-90), 30)
    np.testing.assert_allclose(Preprocess(30)(content), upright, atol=2e-6)


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F"]
)
def test_every_mode_gives_pixels_or_an_image_error(mode: str, parity: bool) -> None:
    image = Image.new(mode, (20, 30))
    try:
        assert Preprocess(8, parity=parity)(image).shape == (3, 8, 8)
    except ImageError as error:
        assert mode in str(error)  # noqa: PT017
        assert mode in ("LAB", "I;16")


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (2, 50_000), (1, 3_000_000)])
def test_very_long_images_use_little_memory(shape: tuple[int, int]) -> None:
    image = Image.new("RGB", shape, (10, 200, 30))
    preprocess = Preprocess(224)
    resize, sizes = Image.Image.resize, []

    def watched(self: Image.Image, size: tuple[int, int], *args: Any, **options: Any) -> Any:
        sizes.append(size[0] * size[1])
        return resize(self, size, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "resize", watched)
        found = preprocess(image)
    assert max(sizes) <= 224 * 224 * 100
    wanted = (np.array([10, 200, 30]) / 255 - OPENAI_MEAN) / OPENAI_STD
    np.testing.assert_allclose(
        found, np.broadcast_to(wanted.reshape(3, 1, 1), found.shape), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(30, 3_060), (3_060, 30), (7, 1_001)])
def test_very_long_images_are_cropped_at_the_center(shape: tuple[int, int]) -> None:
    image = Image.fromarray(photograph(*shape))
    difference = np.abs(Preprocess(28)(image) - plain(image, 28)) * np.reshape(
        OPENAI_STD, (3, 1, 1)
    )
    assert difference.max() * 255 <= 3


def test_the_result_is_contiguous_and_independent() -> None:
    photo = photograph(32, 32)
    found = Preprocess(32)(photo)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    found[:] = 0
    assert photo.max() > 0


def test_the_input_image_is_not_modified() -> None:
    image = Image.fromarray(photograph()).convert("P")
    before = image.tobytes(), image.mode, image.size
    Preprocess(16)(image)
    assert (image.tobytes(), image.mode, image.size) == before


GRIDS = [  # width and height of an image, rows and columns for at most 256, 100 and 1024 patches
    ((640, 480), (14, 18), (9, 11), (27, 36)),
    ((480, 640), (18, 14), (11, 9), (36, 27)),
    ((1000, 37), (3, 82), (2, 50), (6, 163)),
    ((16, 16), (16, 16), (10, 10), (32, 32)),
    ((5, 7), (19, 13), (12, 8), (37, 27)),
    ((1, 900), (256, 1), (100, 1), (900, 1)),
    ((257, 256), (16, 16), (10, 10), (32, 32)),
    ((1, 1), (7, 7), (7, 7), (7, 7)),
    ((1920, 1080), (12, 21), (7, 13), (24, 42)),
]


@pytest.mark.parametrize(("size", "usual", "few", "many"), GRIDS)
def test_grid_is_that_of_the_peer(
    size: tuple[int, int], usual: tuple[int, int], few: tuple[int, int], many: tuple[int, int]
) -> None:
    """Values of get_image_size_for_max_num_patches of transformers."""
    width, height = size
    for most, expected in ((256, usual), (100, few), (1024, many)):
        assert choose_grid(height, width, 16, most) == expected


@given(st.integers(1, 50_000), st.integers(1, 50_000), st.integers(1, 1024))
def test_grid_never_has_more_patches_than_allowed(height: int, width: int, most: int) -> None:
    rows, columns = choose_grid(height, width, 16, most)

    assert rows >= 1 <= columns
    assert rows * columns <= most


def test_images_that_keep_their_aspect_ratio_are_resampled_without_a_crop() -> None:
    preprocess = Preprocess(
        32, (0.5,) * 3, (0.5,) * 3, "bilinear", "aspect", patch=8, max_patches=20
    )
    image = photograph(90, 30)

    found = preprocess(image)

    resized = Image.fromarray(image).resize((48, 16), Image.Resampling.BILINEAR)
    assert found.shape == (3, 16, 48)
    assert np.allclose(found, np.asarray(resized).transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    assert preprocess.square == 32


@pytest.mark.parametrize("options", [{}, {"parity": True}, {"resize_mode": "squash"}], ids=str)
def test_levels_are_the_pixels_before_normalization(options: dict[str, Any]) -> None:
    preprocess, image = Preprocess(32, **options), Image.fromarray(photograph(70, 50))

    found = preprocess.levels(image)

    assert found.dtype == np.uint8
    assert found.shape == (3, 32, 32)
    assert np.array_equal(preprocess.normalize(found.transpose(1, 2, 0)), preprocess(image))
