"""Reject truncated image files even if Pillow is configured to accept them.

`ImageFile.LOAD_TRUNCATED_IMAGES` is process-wide. If another library has set it, Pillow fills the
missing part of a file with gray and reports nothing. This module replaces the reader of one Pillow
object, so that such a file raises an error here and the setting does not change. It ensures
correctness, not speed. It can be deleted if Pillow gets a per-image option.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, cast

from PIL import Image, ImageFile


def reject_truncated(image: Image.Image) -> None:
    """Make `load` fail on a truncated file, regardless of LOAD_TRUNCATED_IMAGES.

    The setting is process-wide and other libraries set it, so it is read here but never changed.
    """
    if not isinstance(image, ImageFile.ImageFile) or image.fp is None:
        return
    read = getattr(image, "load_read", None)
    if image.format in ("JPEG", "MPO"):  # their own load_read appends an end-of-image marker
        read = None

    def read_strictly(size: int) -> bytes:
        try:
            content: bytes = (read or cast(BinaryIO, image.fp).read)(size)
        except (IndexError, struct.error) as error:
            raise OSError("image file is truncated") from error
        if not content:  # a decoder reads only while data is missing
            raise OSError("image file is truncated")
        return content

    cast(Any, image).load_read = read_strictly  # `load` prefers this reader to the file's
