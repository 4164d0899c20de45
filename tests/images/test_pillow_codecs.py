"""Each file is opened by the codec of its format, and errors name the format."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.images.test_formats import ftyp
from tests.images.test_jxl import LARGE, SMALL
from tests.support import encoded, image_error_of, image_files, photograph, pixels_of
from zeroshot.images import pillow_codecs

PHOTO = photograph(64, 48)
IMAGE = Image.fromarray(PHOTO)
HEIC = ftyp(b"heic", b"mif1", b"heic")
NEEDS = {"HEIF": ("pillow_heif", "heif"), "JXL": ("pillow_jxl", "jxl")}
INSTALLED = {
    format_: pytest.param(
        format_,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(module) is None,
            reason=f"{module} is not installed; pip install 'zeroshot-clip[{extra}]'",
        ),
    )
    for format_, (module, extra) in NEEDS.items()
}


@pytest.fixture
def codecs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Pillow's table of codecs, without HEIF and JXL; changes are undone."""
    Image.init()
    for module, _ in NEEDS.values():  # registers itself on import, once
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    table = {name: codec for name, codec in Image.OPEN.items() if name not in NEEDS}
    monkeypatch.setattr(Image, "OPEN", table)
    return table


@pytest.mark.parametrize(
    ("content", "module", "says"),
    [
        (HEIC, "pillow_heif", "HEIC images require an extra: pip install 'zeroshot-clip[heif]'"),
        (
            ftyp(b"mif1", b"heic"),
            "pillow_heif",
            "HEIC images require an extra: pip install 'zeroshot-clip[heif]'",
        ),
        (SMALL, "pillow_jxl", "JPEG XL images require an extra: pip install 'zeroshot-clip[jxl]'"),
    ],
)
def test_a_missing_extra_is_named(
    content: bytes,
    module: str,
    says: str,
    tmp_path: Path,
    codecs: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "photo.heic"
    path.write_bytes(content)
    error = image_error_of(path)
    assert (str(error), error.kind) == (f"{path}: {says}", "unsupported_format")


def test_a_broken_extra_is_reported(
    codecs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"{name}: libheif.so.1 not found")

    monkeypatch.setattr(pillow_codecs.importlib, "import_module", fail)
    says = str(image_error_of(HEIC))
    assert "cannot import pillow_heif for HEIC images (pillow_heif: libheif.so.1" in says


def test_the_codec_of_an_extra_is_registered_once(
    codecs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def register() -> None:
        calls.append(1)
        codecs["HEIF"] = (lambda file, name: IMAGE.copy(), lambda head: head[4:8] == b"ftyp")

    plugin = types.ModuleType("pillow_heif")
    plugin.register_heif_opener = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    pixels_of(encoded(IMAGE, "PNG"))
    assert calls == []
    for _ in range(3):
        np.testing.assert_array_equal(pixels_of(HEIC), PHOTO)
    assert calls == [1]


def test_a_large_jpeg_xl_is_rejected_before_its_codec_decodes_it(codecs: dict[str, Any]) -> None:
    codecs["JXL"] = (lambda file, name: pytest.fail("the file was decoded"), None)
    error = image_error_of(LARGE)
    assert error.kind == "too_many_pixels"
    assert "5000x60000 is 300 megapixels, the limit is 64 megapixels" in str(error)


@pytest.mark.parametrize("format_", INSTALLED.values())
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_files_of_the_extras_are_read(format_: str, mode: str, codecs: dict[str, Any]) -> None:
    pillow_codecs._register(format_, "x")
    if format_ not in Image.OPEN:  # imported by an earlier test, with another table
        importlib.reload(sys.modules["pillow_jxl.JpegXLImagePlugin"])
    image = Image.fromarray(photograph(64, 48, 3)).convert(mode)
    content = encoded(image, format_, quality=95)
    found = pixels_of(content).astype(int)
    assert found.shape == (48, 64, 3)
    assert np.abs(found - np.asarray(image)[:, :, :3]).mean() < 8
    half = image_error_of(content[: len(content) // 2])
    assert half.kind in ("truncated", "decode_failed", "unsupported_format")


def damaged_png() -> bytes:
    content = bytearray(encoded(IMAGE, "PNG", dpi=(300, 300)))
    content[content.find(b"pHYs") + 13] ^= 1
    return bytes(content)


def float_tiff() -> bytes:
    """Return a TIFF of one pixel with three channels of 32-bit floats."""
    tags = {256: 1, 257: 1, 258: 200, 259: 1, 262: 2, 273: 210, 277: 3, 278: 1, 279: 12, 339: 3}
    rows = [struct.pack("<HHII", tag, 3, 3 if tag == 258 else 1, x) for tag, x in tags.items()]
    content = b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + bytes(4)
    return content.ljust(200, b"\0") + struct.pack("<3H", 32, 32, 32) + bytes(20)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (damaged_png(), "corrupted PNG image (broken PNG file"),
        (float_tiff(), "unsupported or corrupted TIFF image (unknown pixel mode"),
        (image_files()["AVIF"][:100], "AVIF image ("),
        (image_files()["GIF"][:7], "GIF image ("),
        (image_files()["WEBP"][:20], "WEBP image ("),
        (b"P5\n", "PPM image ("),
        (b"BM123", "BMP image ("),
    ],
    ids=["PNG", "TIFF", "AVIF", "GIF", "WEBP", "PPM", "BMP"],
)
def test_a_damaged_file_is_named_by_its_format(content: bytes, says: str) -> None:
    text = str(image_error_of(content))
    assert says in text
    assert "expected JPEG" not in text
    assert len(text) < 600


def test_the_own_limit_of_a_codec_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    error = image_error_of(encoded(IMAGE, "TIFF", compression="tiff_lzw"))
    assert error.kind == "too_many_pixels"
    assert "PIL.Image.MAX_IMAGE_PIXELS" in str(error)


def test_the_text_of_a_codec_becomes_one_line() -> None:
    error = pillow_codecs.codec_error("HEIF", ValueError("bad\n  box\n"), "a.heic")
    assert str(error) == (
        "a.heic: the file is a corrupted HEIF image (bad box); copy or download it again"
    )


@pytest.mark.parametrize("kind", image_files())
def test_no_cut_of_a_file_is_called_an_unknown_format(kind: str) -> None:
    content = image_files()[kind]
    name = "JPEG" if kind == "progressive" else kind
    for end in range(16, min(len(content), 400), 7):
        try:
            pixels_of(content[:end])
        except OSError as error:
            assert f"{name} image" in str(error) or "size" in str(error)  # noqa: PT017


@pytest.mark.parametrize("kind", ["JPEG2000", "ICO", "PCX", "QOI", "DDS", "SGI"])
def test_other_images_are_read_if_the_caller_opens_them(kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {kind}")
    content = encoded(Image.fromarray(photograph(32, 32)), kind)
    error = image_error_of(content)
    assert error.kind == "unsupported_format"
    assert "convert it to PNG or JPEG, or open it with Pillow and pass the image" in str(error)
    assert pixels_of(Image.open(io.BytesIO(content))).shape == (32, 32, 3)
