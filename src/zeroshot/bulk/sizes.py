"""Find the size of an image without decoding it again."""

from __future__ import annotations

import io
import struct
import sys
from contextlib import suppress

import numpy as np
from PIL import ExifTags, Image

from zeroshot.images import ImageLike, Sample
from zeroshot.images.jpeg_header import read_header
from zeroshot.images.jxl import is_rotated_by_codec
from zeroshot.images.locks import get_lock
from zeroshot.images.pillow_codecs import open_codec

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PNG_MARKS = (b"eXIf", b"iTXt", b"zTXt", b"tEXt")  # of an orientation; Pillow decodes to find it
UNLIMITED = 1 << 62  # pixels: the decoder has checked the size already
SIDEWAYS = range(5, 9)  # orientations whose width is the height of the stored image

Size = tuple[int | None, int | None]  # width and height of the upright image


def read_size(image: ImageLike) -> Size:
    """Return the width and height of the upright image, or None for both if it has none.

    The header of a file is read again. It costs 10 microseconds for an ordinary JPEG file.
    """
    if isinstance(image, Sample):
        image = image.image
    if isinstance(image, bytes):
        return _read_file_size(image)
    if isinstance(image, Image.Image):
        with get_lock(image):
            return _upright(image)
    if isinstance(image, np.ndarray):
        return int(image.shape[1]), int(image.shape[0])
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        return int(image.shape[-1]), int(image.shape[-2])
    return None, None


def _read_file_size(content: bytes) -> Size:
    header = read_header(content) if content.startswith(JPEG) else None
    if header is not None:
        size = header.width, header.height
        return size[::-1] if header.orientation in SIDEWAYS else size
    if content.startswith(PNG) and not any(mark in content for mark in PNG_MARKS):
        return struct.unpack_from(">II", content, 16)
    try:
        with open_codec(io.BytesIO(content), "", UNLIMITED) as image:
            return _upright(image)
    except Exception:  # a codec may raise any error; the image was decoded nevertheless
        return None, None


def _upright(image: Image.Image) -> Size:
    width, height = image.size
    sideways = False
    # Pillow turns a TIFF image itself, and swaps its sides on opening
    if image.format != "TIFF" and not is_rotated_by_codec(image):
        with suppress(Exception):  # damaged metadata
            sideways = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
    return (height, width) if sideways else (width, height)
