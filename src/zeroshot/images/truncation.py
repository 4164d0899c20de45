"""Reject truncated image files although another library told Pillow to accept them.

`ImageFile.LOAD_TRUNCATED_IMAGES` is a setting of the whole process. Where another library has set
it, Pillow fills the missing part of a file with gray and reports nothing. This module plants a
reader in one Pillow object, so that such a file is an error for us and the setting stays as it is.
It buys correctness, not speed. It can be deleted if Pillow gets a per-image option.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, cast

from PIL import Image, ImageFile


def reject_early_end(picture: Image.Image) -> None:
    """Make `load` fail where the file ends too early, whatever LOAD_TRUNCATED_IMAGES says.

    That switch belongs to the process, and other libraries set it: it is read here, never set.
    """
    if not isinstance(picture, ImageFile.ImageFile) or picture.fp is None:
        return
    read = getattr(picture, "load_read", None)
    if picture.format in ("JPEG", "MPO"):  # their own load_read makes up an end of image
        read = None

    def strict(size: int) -> bytes:
        try:
            content: bytes = (read or cast(BinaryIO, picture.fp).read)(size)
        except (IndexError, struct.error) as error:
            raise OSError("image file is truncated") from error
        if not content:  # a decoder only reads on while it lacks something
            raise OSError("image file is truncated")
        return content

    cast(Any, picture).load_read = strict  # where `load` looks for a reader before the file's
