"""JPEG files decoded by simplejpeg have Pillow's pixels, and Pillow decides about all others."""

from __future__ import annotations

import base64
import importlib
import io
import logging
import random
import sys
import types
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.support import encoded, photograph
from zeroshot.errors import ImageError
from zeroshot.images import jpeg
from zeroshot.images.jpeg import decode_jpeg, find_decoder, turn
from zeroshot.images.limits import MAX_PIXELS
from zeroshot.images.opening import open_image, open_pixels

pytest.importorskip("simplejpeg")

SIZES = [(1, 1), (1, 8), (7, 5), (16, 16), (17, 33), (100, 75)]
KINDS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": "4:4:4"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:2:0": {"subsampling": "4:2:0"},
    "progressive": {"progressive": True},
    "progressive 4:4:4": {"progressive": True, "subsampling": "4:4:4"},
    "optimized": {"optimize": True},
    "restart markers": {"restart_marker_blocks": 1},
    "restart rows": {"restart_marker_rows": 1},
    "RGB without transform": {"keep_rgb": True},
    "low quality": {"quality": 5},
    "comment": {"comment": b"a comment"},
    "ICC profile": {"icc_profile": bytes(70_000)},
}
ARITHMETIC = base64.b64decode(  # 20 x 14 pixels, written by libjpeg's arithmetic coder
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KS"
    "EiMEExNDk7Pj4+JS5ESUM8SDc9Pjv/2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7"
    "Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozv/yQARCAAOABQDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPw"
    "D/AJqsu65cP0bUNDc0SGPEhZdUri/WsdKYickq2EL6BhF/9HsHMpntdttCYWDmRLjnVKS+sIhbxF+0lCdJ99kc0n2v"
    "n3NfxLOlWJdk0uqG6Jsqb11o0lKslXnmRkqaUL2PYyfm4/l9e6D/2Q=="
)
DAMAGED = 3000  # files


@pytest.fixture
def without_simplejpeg(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the import of simplejpeg fail."""
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    find_decoder.cache_clear()
    yield
    find_decoder.cache_clear()


def decoded(content: bytes, at_least: int | None = None, most: int = MAX_PIXELS) -> Any:
    return decode_jpeg(io.BytesIO(content), at_least, most)


def picture(size: tuple[int, int] = (100, 75), seed: int = 0) -> Image.Image:
    return Image.fromarray(photograph(*size, seed))


def assert_equal_to_pillow(content: bytes, at_least: int | None = None) -> None:
    found = decoded(content, at_least)

    assert found is not None
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.asarray(open_image(content, at_least=at_least)))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_equal_those_of_pillow(size: tuple[int, int], options: dict[str, Any]) -> None:
    assert_equal_to_pillow(encoded(picture(size), "JPEG", **options))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("progressive", [False, True])
def test_gray_pixels_equal_those_of_pillow(size: tuple[int, int], progressive: bool) -> None:
    assert_equal_to_pillow(encoded(picture(size).convert("L"), "JPEG", progressive=progressive))


def test_arithmetic_coding_gives_the_pixels_of_pillow() -> None:
    assert_equal_to_pillow(ARITHMETIC)


@pytest.mark.parametrize("sampling", [0x11, 0x12, 0x14, 0x21, 0x22, 0x41], ids=hex)
def test_unusual_subsampling_gives_the_pixels_of_pillow(sampling: int) -> None:
    content = bytearray(encoded(picture((64, 64)), "JPEG", subsampling="4:2:0"))
    # a unit of 4:2:0 has as many blocks as one of 4:1:1 (0x41) and 4:4:1 (0x14), in other places
    content[content.index(b"\xff\xc0") + 11] = sampling

    assert outcome(bytes(content), open_pixels) == outcome(bytes(content), open_image)


def test_any_exception_of_simplejpeg_leaves_the_file_to_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = types.SimpleNamespace(decode_jpeg_header=lambda *_, **__: {}[6])
    monkeypatch.setattr(jpeg, "find_decoder", lambda: jpeg.Decoder(library, "1.9"))
    file = io.BytesIO(encoded(picture(), "JPEG"))

    assert decode_jpeg(file, None, MAX_PIXELS) is None
    assert file.tell() == 0


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("orientation", range(10))
def test_pixels_are_turned_as_by_pillow(orientation: int, big_endian: bool) -> None:
    exif = Image.Exif()
    exif.endian = ">" if big_endian else "<"
    exif[0x0112], exif[0x010F], exif[0x011A] = orientation, "Maker of cameras", 72.0

    assert_equal_to_pillow(encoded(picture(), "JPEG", exif=exif.tobytes()))


@pytest.mark.parametrize("at_least", [448, 150, 75, 40, 9, 1])
@pytest.mark.parametrize("size", [(1200, 900), (601, 403), (97, 75)], ids=str)
def test_reduced_pixels_equal_those_of_pillow(size: tuple[int, int], at_least: int) -> None:
    assert_equal_to_pillow(encoded(picture(size), "JPEG"), at_least)


def mpo() -> bytes:
    """Return two pictures in one file, as phones store them."""
    return encoded(picture(), "MPO", save_all=True, append_images=[picture(seed=1)])


@pytest.mark.parametrize(
    "content",
    [
        encoded(picture().convert("CMYK"), "JPEG"),
        mpo(),
        encoded(picture(), "PNG"),
        encoded(picture(), "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
        encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff garbage"),
        encoded(picture(), "JPEG")[:-40],
        b"\xff\xd8\xff",
        b"",
    ],
    ids=["CMYK", "MPO", "PNG", "XMP", "EXIF", "truncated", "start", "empty"],
)
def test_other_files_are_declined_and_left_at_their_start(content: bytes) -> None:
    file = io.BytesIO(content)

    assert decode_jpeg(file, None, MAX_PIXELS) is None
    assert file.tell() == 0


def test_a_file_above_the_limit_of_bytes_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(picture(), "JPEG")
    monkeypatch.setattr(jpeg, "LARGEST", len(content) - 1)

    assert decoded(content) is None


def test_a_decompression_bomb_is_declined_before_its_pixels_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = encoded(picture(), "JPEG")
    bomb = content.replace((75).to_bytes(2) + (100).to_bytes(2), b"\xff\xdc\xff\xdc", 1)
    monkeypatch.setattr(find_decoder().library, "decode_jpeg", None)

    assert bomb != content
    assert decoded(bomb) is None
    with pytest.raises(ImageError, match=r"65500x65500 is 4290.25 megapixels, the limit is 64 "):
        open_pixels(bomb)


def test_the_limit_of_pixels_applies_to_the_reduced_size() -> None:
    content = encoded(picture((400, 300)), "JPEG")

    assert decoded(content, 150, 30_000).shape == (150, 200, 3)
    assert decoded(content, None, 30_000) is None


def outcome(content: bytes, read: Any) -> tuple[Any, ...]:
    """Return the pixels or the error of a file, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pixels = np.asarray(read(content))
            found: tuple[Any, ...] = (pixels.shape, pixels.tobytes())
        except ImageError as error:
            found = (error.kind, str(error))
    return (*found, [str(warning.message) for warning in caught])


def damaged(files: list[bytes], random: random.Random) -> bytes:
    """Return a file with one to five places cut, flipped, inserted or deleted."""
    content = bytearray(random.choice(files))
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        start = random.randrange(max(1, len(content)))
        place = start if random.random() < 0.4 else start % 700  # mostly the header
        kind, count = random.randrange(4), random.randrange(1, 5)
        if kind == 0:
            del content[place:]
        elif kind == 1 and content:
            content[place % len(content)] ^= 1 << random.randrange(8)
        elif kind == 2:
            content[place:place] = random.randbytes(count)
        else:
            del content[place : place + count]
    return bytes(content)


@pytest.mark.parametrize("truncated_are_loaded", [False, True])
def test_damaged_files_give_the_pixels_errors_and_warnings_of_pillow(
    truncated_are_loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", truncated_are_loaded)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A], exif[0x0128] = 6, "Maker of cameras", 72.0, 2
    extras: list[dict[str, Any]] = [
        {"exif": exif.tobytes(), "icc_profile": b"profile", "comment": b"comment"},
        {"xmp": b'<x tiff:Orientation="6"/>'},
    ]
    files = [
        encoded(picture(size, seed), "JPEG", **options)
        for size in ((33, 17), (16, 16), (48, 64))
        for seed, options in enumerate([*KINDS.values(), *extras])
        if len(options.get("icc_profile", b"")) < 100
    ]
    seeded, accepted = random.Random(20_261_126), 0
    for _ in range(DAMAGED // 2):
        content = damaged(files, seeded)
        accepted += decoded(content) is not None
        assert outcome(content, open_pixels) == outcome(content, open_image)
    assert accepted > DAMAGED // 50


def test_threads_decode_the_same_pixels() -> None:
    files = [encoded(picture((200, 150), seed), "JPEG") for seed in range(8)]
    expected = [decoded(content) for content in files]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(decoded, files * 20))

    assert all(np.array_equal(pixels, expected[i % 8]) for i, pixels in enumerate(found))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_follows_the_definition_of_the_orientation(orientation: int) -> None:
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    mirrored, rotated = stored[:, ::-1], np.rot90(stored, 2)
    expected = [
        *(stored, mirrored, rotated, stored[::-1]),
        *(stored.swapaxes(0, 1), np.rot90(stored, -1)),
        *(rotated.swapaxes(0, 1), np.rot90(stored, 1)),
    ][orientation - 1]

    np.testing.assert_array_equal(turn(stored, orientation), expected)


# ---- which decoder is used


def test_simplejpeg_is_used_where_it_is_installed() -> None:
    assert str(find_decoder()).startswith("simplejpeg ")
    assert isinstance(open_pixels(encoded(picture(), "JPEG")), np.ndarray)


@pytest.mark.usefixtures("without_simplejpeg")
def test_without_simplejpeg_pillow_decodes_the_same_pixels() -> None:
    content = encoded(picture(), "JPEG")

    found = open_pixels(content)

    assert isinstance(found, Image.Image)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(open_image(content)))
    assert "simplejpeg is not installed; pip install 'zeroshot-clip[fast]'" in str(find_decoder())


def use_fake(monkeypatch: pytest.MonkeyPatch, version: str, **functions: Any) -> None:
    """Install a module in place of simplejpeg for a test."""
    fake = types.SimpleNamespace(__version__=version, **functions)
    monkeypatch.setitem(sys.modules, "simplejpeg", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(jpeg, "find_decoder", jpeg.find_decoder.__wrapped__)


def test_an_older_simplejpeg_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake(monkeypatch, "1.8.2")

    assert "simplejpeg 1.8.2 is older than 1.9" in str(jpeg.find_decoder())


def test_a_simplejpeg_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake(monkeypatch, "1.9.9")  # without the function decode_jpeg

    found = jpeg.find_decoder()

    assert found.library is None
    assert "simplejpeg fails (AttributeError" in str(found)
    assert isinstance(open_pixels(encoded(picture(), "JPEG")), Image.Image)


def test_a_simplejpeg_with_a_missing_library_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ImportError("libc.so.7: no such file")

    monkeypatch.setattr(importlib, "import_module", fail)

    assert "fails (ImportError('libc.so.7" in str(find_decoder.__wrapped__())


def test_a_simplejpeg_with_other_pixels_is_not_used_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real: Any = find_decoder().library
    use_fake(
        monkeypatch,
        "1.9.9",
        decode_jpeg_header=real.decode_jpeg_header,
        decode_jpeg=lambda *given, **options: real.decode_jpeg(*given, **options) ^ 1,
    )

    monkeypatch.setattr(jpeg, "_warned", [])
    with caplog.at_level(logging.WARNING, "zeroshot"), ThreadPoolExecutor(8) as pool:
        found, *others = pool.map(lambda _: jpeg.find_decoder(), range(8))

    assert found.library is None
    assert others == [found] * 7
    assert "the pixels of simplejpeg 1.9.9 differ" in caplog.text
    assert len(caplog.records) == 1
    assert max(len(record.getMessage()) for record in caplog.records) < 600


def test_accurate_arithmetic_is_requested() -> None:
    assert jpeg.EXACT == {"fastdct": False, "fastupsample": False, "strict": True}
