"""Files of every format and mode decode to upright RGB; damaged ones raise ImageError."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import encoded, image_error_of, image_files, photograph, pixels_of
from zeroshot.errors import ImageError
from zeroshot.images import open_image

PHOTO = photograph()
IMAGE = Image.fromarray(PHOTO)


def test_a_palette_image_is_converted_with_its_palette() -> None:
    palette = IMAGE.quantize(16)
    np.testing.assert_array_equal(
        pixels_of(encoded(palette, "PNG")), np.asarray(palette.convert("RGB"))
    )


@pytest.mark.parametrize("transparency", [3, b"\x00\x80\xff" * 5])
def test_palette_transparency_is_dropped_without_a_warning(transparency: int | bytes) -> None:
    palette = IMAGE.quantize(16)
    content = encoded(palette, "PNG", transparency=transparency)
    np.testing.assert_array_equal(pixels_of(content), np.asarray(palette.convert("RGB")))


def test_one_bit_images_are_black_and_white() -> None:
    bits = IMAGE.convert("1")
    found = pixels_of(encoded(bits, "PNG"))
    assert set(np.unique(found)) == {0, 255}
    np.testing.assert_array_equal(found[:, :, 0] > 0, np.asarray(bits))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(kind: str) -> None:
    levels = np.array([[0, 256, 4080, 16_000, 32_768, 65_535]], np.uint16)
    found = pixels_of(encoded(Image.fromarray(levels), kind))
    assert found[0, :, 0].tolist() == [0, 1, 16, 62, 128, 255]


def test_big_endian_16_bit_gray_is_scaled() -> None:
    levels = np.array([[0, 4080, 65_535]], np.uint16)
    image = Image.frombytes("I;16B", (3, 1), levels.astype(">u2").tobytes())
    assert pixels_of(image)[0, :, 0].tolist() == [0, 16, 255]


def test_32_bit_gray_is_read_as_16_bit() -> None:
    image = Image.fromarray(np.array([[0, 4080, 65_535]], np.int32))
    assert (image.mode, pixels_of(image)[0, :, 0].tolist()) == ("I", [0, 16, 255])


def eight_bit_in_wider_types() -> dict[str, Image.Image | bytes]:
    gray = PHOTO[:, :, 0]
    return {
        "I": Image.fromarray(gray.astype(np.int32)),
        "I;16": Image.fromarray(gray.astype(np.uint16)),
        "I;16B": Image.frombytes("I;16B", gray.shape[::-1], gray.astype(">u2").tobytes()),
        "PNG": encoded(Image.fromarray(gray.astype(np.uint16)), "PNG"),
        "TIFF": encoded(Image.fromarray(gray.astype(np.uint16)), "TIFF"),
        "32-bit TIFF": encoded(Image.fromarray(gray.astype(np.int32)), "TIFF"),
    }


@pytest.mark.parametrize("kind", eight_bit_in_wider_types())
def test_8_bit_values_in_a_wider_type_are_kept(kind: str) -> None:
    wanted = np.asarray(Image.fromarray(PHOTO[:, :, 0]).convert("RGB"))
    np.testing.assert_array_equal(pixels_of(eight_bit_in_wider_types()[kind]), wanted)


def test_a_value_above_255_makes_an_image_16_bit() -> None:
    levels = np.array([[0, 255, 256]], np.int32)
    assert pixels_of(Image.fromarray(levels[:, :2]))[0, :, 0].tolist() == [0, 255]
    assert pixels_of(Image.fromarray(levels))[0, :, 0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("value", [-1, 65_536])
def test_32_bit_gray_outside_16_bit_is_rejected(value: int) -> None:
    assert image_error_of(Image.fromarray(np.array([[0, value]], np.int32))).kind == "bad_values"


def test_float_images_are_read_as_zero_to_one() -> None:
    image = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert (image.mode, pixels_of(image)[0, :, 2].tolist()) == ("F", [0, 128, 255])


@pytest.mark.parametrize("value", [np.nan, np.inf, 255.0, -0.5])
def test_float_images_outside_zero_to_one_are_rejected(value: float) -> None:
    assert image_error_of(Image.fromarray(np.array([[0, value]], np.float32))).kind == "bad_values"


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_dropped_like_openai(mode: str) -> None:
    image = IMAGE.convert(mode)
    image.putalpha(0)
    wanted = IMAGE.convert("L").convert("RGB") if mode == "LA" else IMAGE
    np.testing.assert_array_equal(pixels_of(encoded(image, "PNG")), np.asarray(wanted))


def test_cmyk_jpegs_keep_their_colors() -> None:
    red = Image.new("RGB", (32, 32), (200, 30, 40)).convert("CMYK")
    found = pixels_of(encoded(red, "JPEG", quality=95)).reshape(-1, 3).mean(axis=0)
    assert np.abs(found - (200, 30, 40)).max() < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"])
@pytest.mark.parametrize("parity", [False, True])
def test_every_common_mode_is_read(mode: str, parity: bool) -> None:
    base = IMAGE.convert("RGBA" if mode == "RGBa" else "LA" if mode == "PA" else "RGB")
    image = base.convert("P").convert("PA") if mode == "PA" else base.convert(mode)
    assert image.mode == mode
    found = open_image(image, parity=parity)
    assert (found.size, found.mode) == (IMAGE.size, mode if parity else "RGB")


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_color_spaces_are_converted(mode: str) -> None:
    assert np.abs(pixels_of(IMAGE.convert(mode)).astype(int) - PHOTO).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), c) for c in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    found = pixels_of(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert found.shape == (10, 20, 3)
    assert np.abs(found.astype(int) - (250, 0, 0)).max() < 12


def test_the_format_is_detected_from_the_content(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(IMAGE, "PNG"))
    np.testing.assert_array_equal(pixels_of(path), PHOTO)


FILES = image_files()


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("strict", [False, True], ids=["warnings shown", "warnings are errors"])
def test_flipped_bits_give_an_image_or_an_image_error(kind: str, strict: bool) -> None:
    random = np.random.default_rng(7)
    for _ in range(25):
        content = bytearray(FILES[kind])
        for place in random.integers(0, len(content), random.integers(1, 6)):
            content[place] ^= 1 << random.integers(0, 8)
        with warnings.catch_warnings():
            warnings.simplefilter("error" if strict else "ignore")
            with contextlib.suppress(ImageError):
                assert open_image(bytes(content)).mode == "RGB"


@given(st.binary(max_size=200), st.sampled_from([b"", *(c[:40] for c in FILES.values())]))
def test_arbitrary_bytes_give_an_image_or_an_image_error(tail: bytes, head: bytes) -> None:
    with contextlib.suppress(ImageError):
        assert open_image(head + tail).mode == "RGB"


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and has no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    end = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


@pytest.mark.parametrize(
    "size", [(8001, 8000), (10_000, 10_000), (13_000, 13_000), (60_000, 60_000)]
)
@pytest.mark.parametrize("strict", [False, True])
def test_a_decompression_bomb_is_rejected_before_decoding(
    size: tuple[int, int], strict: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        assert image_error_of(png_of_size(*size)).kind == "too_many_pixels"


def test_an_image_of_exactly_the_pixel_limit_is_accepted() -> None:
    pixels = IMAGE.width * IMAGE.height
    for source in (IMAGE, encoded(IMAGE, "PNG"), PHOTO, PHOTO / 255):
        open_image(source, max_pixels=pixels)
        with pytest.raises(ImageError, match="the limit is") as caught:
            open_image(source, max_pixels=pixels - 1)
        assert caught.value.kind == "too_many_pixels"
        assert f"max_pixels={pixels}" in str(caught.value)


def test_a_raised_limit_reads_more_than_pillow_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(pixels_of(encoded(IMAGE, "PNG")), PHOTO)


def test_the_size_error_of_a_jpeg_names_fast_decoding() -> None:
    large = Image.new("L", (4000, 3000))
    content = encoded(large, "JPEG")
    with pytest.raises(ImageError) as caught:
        open_image(content, max_pixels=1_000_000)
    assert "4000x3000 is 12 megapixels, the limit is 1 megapixels" in str(caught.value)
    assert "decode='fast'" in str(caught.value)
    assert open_image(content, max_pixels=1_000_000, at_least=448).size == (1000, 750)
    with pytest.raises(ImageError) as caught:
        open_image(large, max_pixels=1_000_000)
    assert "decode='fast'" not in str(caught.value)
