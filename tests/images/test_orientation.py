"""Images are rotated upright exactly once, wherever the file stores the orientation."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.images.test_jxl import container, packed
from tests.support import encoded, photograph, pixels_of

PHOTO = photograph()
MARKS = np.zeros((32, 48, 3), np.uint8)  # every corner has a color of its own
MARKS[:16, :24] = (255, 0, 0)
MARKS[:16, 24:] = (0, 255, 0)
MARKS[16:, :24] = (0, 0, 255)
ORIENTATIONS = range(1, 9)


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def stored(orientation: int) -> Image.Image:
    """Return MARKS as a camera stores it with this orientation."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    image = Image.fromarray(MARKS)
    image.info["exif"] = exif_of(inverse)
    return Image.fromarray(np.asarray(ImageOps.exif_transpose(image)))  # without EXIF data


def assert_upright(source: bytes | Image.Image) -> None:
    found = pixels_of(source).astype(int)
    assert found.shape == MARKS.shape
    for row, column in [(4, 4), (4, 44), (28, 4), (28, 44)]:
        assert np.abs(found[row, column] - MARKS[row, column]).max() < 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert_upright(encoded(stored(orientation), kind, exif=exif_of(orientation), **options))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_heic_file_is_rotated_once(orientation: int) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    content = encoded(stored(orientation), "HEIF", exif=exif_of(orientation), quality=90)
    rotates = b"irot" in content or b"imir" in content
    assert rotates == (orientation > 1)  # in the boxes of the container as well as in the EXIF data
    assert exif_of(orientation).removeprefix(b"Exif\0\0") in content
    assert_upright(content)


def test_damaged_exif_is_ignored() -> None:
    content = encoded(
        Image.fromarray(PHOTO), "PNG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff garbage"
    )
    np.testing.assert_array_equal(pixels_of(content), PHOTO)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_invalid_orientations_are_ignored(orientation: int) -> None:
    content = encoded(Image.fromarray(PHOTO), "PNG", exif=exif_of(orientation))
    np.testing.assert_array_equal(pixels_of(content), PHOTO)


# ---- JPEG XL


def stored_jxl(orientation: int, header: int) -> bytes:
    """Return a codestream of the stored image with an orientation in its header."""
    pytest.importorskip("pillow_jxl")
    image = stored(orientation)
    stream = encoded(image, "JXL")
    wide, high = ((3, 5), (4, 3)), ((5, 5), (0, 3), (3, 5))  # 32 high, 3:2; 48 high, 32 wide
    size = ((1, 1), *(wide if image.width == 48 else high))
    plain = b"\xff\x0a" + packed(*size, (1, 1), (1, 1))  # the default of all metadata
    assert stream.startswith(plain)
    metadata = (
        *((0, 1), (1, 1), (header - 1, 3), (0, 3)),  # not the default: the orientation
        *((0, 3), (1, 1), (0, 2), (1, 1), (1, 1), (1, 1), (0, 2), (1, 1)),  # the defaults
    )
    return b"\xff\x0a" + packed(*size, *metadata) + stream.removeprefix(plain)


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def exif_box(orientation: int) -> bytes:
    return box(b"Exif", bytes(4) + exif_of(orientation).removeprefix(b"Exif\0\0"))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_orientation_in_a_jpeg_xl_header_is_applied(orientation: int) -> None:
    assert_upright(stored_jxl(orientation, header=orientation))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_xl_orientation_in_the_exif_data_alone_is_applied(orientation: int) -> None:
    assert_upright(container(stored_jxl(orientation, header=1), before=exif_box(orientation)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_xl_orientation_in_header_and_exif_data_is_applied_once(orientation: int) -> None:
    content = container(stored_jxl(orientation, header=orientation), before=exif_box(orientation))
    assert_upright(content)
    assert_upright(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("keep_jpeg", [True, False])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_in_jpeg_xl_is_rotated_once(
    orientation: int, keep_jpeg: bool, tmp_path: Path
) -> None:
    pytest.importorskip("pillow_jxl")
    path = tmp_path / "photo.jpg"
    options = {"exif": exif_of(orientation), "quality": 95}
    path.write_bytes(encoded(stored(orientation), "JPEG", **options))
    with Image.open(path) as image:
        content = encoded(image, "JXL", lossless_jpeg=True)
    if not keep_jpeg:  # without the data to restore the JPEG, the pixels are decoded
        content = content.replace(b"jbrd", b"free")
    assert_upright(content)
