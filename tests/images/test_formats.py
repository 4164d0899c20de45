"""File formats are recognized by their first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import image_files
from zeroshot.images.formats import (
    DECODED,
    is_file_content,
    is_image_head,
    may_be_file_content,
    recognize,
)

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
    if is_file_content(head):
        assert found is not None
        assert all(may_be_file_content(head[:end]) for end in range(min(len(head), 3)))


@pytest.mark.parametrize(
    "head",
    [
        *(content[:512] for content in FILES.values()),
        b"P3\n# text\n2 2\n255\n",
        b"\xff\xd8\xff",
        b"%PDF-1.7\n\x01",
        b"PK\3\4\x14\0",
    ],
)
def test_content_of_files_is_not_text(head: bytes) -> None:
    assert is_file_content(head)


@pytest.mark.parametrize(
    "head",
    [
        *(b"", b"a", b"BMW.jpg\n", b"GIF89a.gif\n", b"P5 red.jpg\n", b"IMG_1.jpg\nb.jpg\n"),
        *("\ufeffa.jpg\n".encode(), "é.jpg\n".encode("latin-1"), "a.jpg\n".encode("utf-16")),
        *(b"RIFF\n", b"a.jpg\0b.jpg\0", b"<svg>", b"{}", b"\x07\x9f\x00"),
    ],
)
def test_text_and_unknown_bytes_are_not_content_of_a_file(head: bytes) -> None:
    assert not is_file_content(head)


@pytest.mark.parametrize("kind", FILES)
def test_more_bytes_are_read_until_content_is_recognized(kind: str) -> None:
    for end in range(512):
        head = FILES[kind][:end]
        assert may_be_file_content(head) or is_file_content(head)


@pytest.mark.parametrize("start", [b"a\n", b"a.jp", b"IMG_", b"P5 r", "č.j".encode()])
def test_text_is_recognized_by_four_bytes_or_a_line(start: bytes) -> None:
    assert not may_be_file_content(start)
