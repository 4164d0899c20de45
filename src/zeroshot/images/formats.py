"""Recognize file formats by their first bytes, so that errors can name them."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD = 512  # bytes that recognition needs; tar archives are marked at byte 257
DECODED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "HEIF", "JXL")
CONTROL = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f]")  # bytes that are not in text
UNDECIDED = (b"\xff", b"\x89", b"BM", b"GIF8", b"RIFF")  # first bytes of images and of text
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
HEIF_BRANDS = HEIC_BRANDS | {b"mif1", b"msf1", b"mif2"}
AVIF_BRANDS = {b"avif", b"avis"}
HEADS = (  # first bytes, Pillow's name of the format
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
)
UNSUPPORTED = (  # image formats outside the allow-list
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR or TGA"),
    (b"icns", "ICNS"),
    (b"8BPS", "PSD"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\x0a\x05\x01", "PCX"),
    (b"\x01\xda", "SGI"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"II\xbc", "JPEG XR"),
    (b"gimp xcf", "XCF"),
    (b"AT&TFORM", "DjVu"),
    (b"/* XPM */", "XPM"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
)
OTHER = (  # files that are not one image
    (b"%PDF", "a PDF document; convert its pages to images"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; read the array from it and pass that"),
    (b"CDF\x01", "a NetCDF file; read the array from it and pass that"),
    (b"\x93NUMPY", "a NumPy .npy file; pass numpy.load(path)"),
    (b"PK\x03\x04", "a zip archive (or .npz, .docx); pass the files inside"),
    (b"\x1f\x8b", "a gzip file; decompress it"),
    (b"BZh", "a bzip2 file; decompress it"),
    (b"\xfd7zXZ\0", "an xz file; decompress it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file; decompress it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; pass the files inside"),
    (b"Rar!", "a RAR archive; pass the files inside"),
    (b"PAR1", "a Parquet file; read the image bytes from it and pass those"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x1aE\xdf\xa3", "a video (WebM or Matroska); pass its frames"),
    (b"\0\0\1\xba", "a video (MPEG); pass its frames"),
    (b"version https://git-lfs", "a Git LFS pointer; download the file with git lfs pull"),
    (b"\x7fELF", "a program"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"ID3", "an audio file"),
    (b"OggS", "an Ogg file"),
    (b"\0\0\0\0", "zeros, as in an incomplete download"),
)


@dataclass(frozen=True)
class Format:
    """What a file is, by its first bytes."""

    name: str  # Pillow's name for formats in DECODED, else for messages
    is_image: bool = True


def recognize(head: bytes) -> Format | None:
    """Return the format of a file that starts with `head` (HEAD bytes are enough), or None."""
    return _recognize_binary(head) or _recognize_text(head)


def _recognize_binary(head: bytes) -> Format | None:
    """Return the format of a file that is not text. Text can start with the same letters."""
    if head[4:8] == b"ftyp":
        return _recognize_ftyp(head)
    if head[:4] == b"RIFF":
        return _recognize_riff(head[8:12])
    if head[:1] == b"P" and (head[1:2] in b"123456fy0" and head[1:2]) and _is_ppm(head):
        return Format("PPM")
    if head[128:132] == b"DICM":
        return Format("DICOM")
    for heads, is_image in ((HEADS, True), (UNSUPPORTED, True), (OTHER, False)):
        for start, name in heads:
            if head.startswith(start):
                return Format(name, is_image)
    if head[257:262] == b"ustar":
        return Format("a tar archive; pass the files inside", is_image=False)
    return None


def is_image_head(head: bytes) -> bool:
    """Return whether a file that starts with `head` is of a format in DECODED."""
    found = recognize(head)
    return found is not None and found.name in DECODED


def is_file_content(head: bytes) -> bool:
    """Return whether `head` starts the content of a file in a known format, and not text.

    A line of text such as "BMW.jpg" or "P5 red.jpg" starts like an image.
    """
    found = _recognize_binary(head)
    if found is None:
        return False
    is_binary = head[:1] == b"\xff" or CONTROL.search(head) is not None
    return is_binary or (found.name == "PPM" and head[2:3] == b"\n")


def may_be_file_content(start: bytes) -> bool:
    """Return whether `is_file_content` can be true when more bytes follow these first ones."""
    if len(start) < 4 and b"\n" not in start:
        return True
    return start.startswith(UNDECIDED) or CONTROL.search(start) is not None


def _recognize_ftyp(head: bytes) -> Format:
    """Distinguish the files of the ISO media container by their brands."""
    major, size = head[8:12], int.from_bytes(head[:4], "big")
    brands = {head[i : i + 4] for i in range(16, min(size, len(head)), 4)}
    if major in AVIF_BRANDS or (major not in HEIC_BRANDS and brands & AVIF_BRANDS):
        return Format("AVIF")
    if major in HEIF_BRANDS or brands & HEIC_BRANDS:
        return Format("HEIF")
    if major == b"crx ":
        return Format("camera raw")
    return Format("a video (MP4 or MOV); pass its frames", is_image=False)


def _recognize_riff(kind: bytes) -> Format | None:
    if kind == b"WEBP":
        return Format("WEBP")
    if kind == b"AVI ":
        return Format("a video (AVI); pass its frames", is_image=False)
    return Format("an audio file", is_image=False) if kind == b"WAVE" else None


def _is_ppm(head: bytes) -> bool:
    """Return whether this is a portable bitmap, and not text that begins with P."""
    return head[2:3].isspace() or head.startswith((b"P0CMYK", b"PyP\n", b"PyRGBA", b"PyCMYK"))


def _recognize_text(head: bytes) -> Format | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        return Format("a web page, SVG or XML; pass a raster image", is_image=False)
    if start[:1] in (b"{", b"["):
        return Format(f"JSON or similar text that begins with {_quoted(start)}", is_image=False)
    try:
        text = start.decode("utf-8", "ignore" if len(head) >= HEAD else "strict")
    except UnicodeDecodeError:
        return None
    if text and all(character.isprintable() or character.isspace() for character in text):
        return Format(f"text that begins with {_quoted(start)}", is_image=False)
    return None


def _quoted(start: bytes) -> str:
    text = start[:80].decode("utf-8", "ignore")
    return repr(text[:24])
