"""File formats are recognized by their first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import image_files
from zeroshot.images.formats import DECODED, is_image_head, recognize

FILES = image_files()


@pytest.mark.parametrize("kind", FILES)
def test_supported_formats_are_recognized(kind: str) -> None:
    found = recognize(FILES[kind][:512])
    assert found is not None
    assert found.name == ("JPEG" if kind == "progressive" else kind)
    assert is_image_head(FILES[kind][:64])


def ftyp(major: bytes, *others: bytes) -> bytes:
    brands = b"".join(others)
    return (16 + len(brands)).to_bytes(4, "big") + b"ftyp" + major + b"\0\0\0\0" + brands + b"meta"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (ftyp(b"heic", b"mif1", b"heic"), "HEIF"),
        (ftyp(b"mif1", b"mif1", b"heic"), "HEIF"),
        (ftyp(b"heix"), "HEIF"),
        (ftyp(b"mif1", b"avif", b"miaf"), "AVIF"),
        (ftyp(b"avis"), "AVIF"),
        (b"\xff\x0a\x00", "JXL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
        (b"P5\n3 2\n255\n", "PPM"),
    ],
)
def test_containers_are_distinguished_by_their_brands(head: bytes, name: str) -> None:
    found = recognize(head)
    assert found is not None
    assert found.name == name
    assert is_image_head(head)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (ftyp(b"isom", b"mp41"), "a video (MP4 or MOV)"),
        (ftyp(b"qt  "), "a video (MP4 or MOV)"),
        (ftyp(b"crx "), "camera raw"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\1\0\1\0", "ICO"),
        (b"8BPS\0\1", "PSD"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY\1\0", "numpy.load"),
        (b"PK\3\4\x14\0", "a zip archive"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)"),
        (b"RIFF\0\0\0\0WAVEfmt ", "an audio file"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (b"a.jpg".ljust(257, b"\0") + b"ustar\0", "a tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b" \n<!doctype html>", "a web page"),
        (b'{"detail": "not found"}', "JSON"),
        (b"Python is text", "text that begins with 'Python is text'"),
        (b"P5 is text", "PPM"),
        ("über".encode(), "text that begins with 'über'"),
        (b"\0\0\0\0\0\0\0\0", "zeros"),
    ],
)
def test_other_formats_are_named(head: bytes, name: str) -> None:
    found = recognize(head)
    assert found is not None
    assert name in found.name


def test_unknown_bytes_are_not_recognized() -> None:
    assert recognize(b"") is None
    assert recognize(b"\x07\x9f\x00\xff\xfe\x01\x02") is None


@given(st.binary(max_size=600))
def test_any_bytes_are_a_format_or_none(head: bytes) -> None:
    found = recognize(head)
    assert is_image_head(head) == (found is not None and found.name in DECODED)
