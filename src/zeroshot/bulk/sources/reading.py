"""Read images by name."""

from __future__ import annotations

from pathlib import Path

from zeroshot.images import ImageLike
from zeroshot.images.download import download_image


def read_image(name: str) -> ImageLike:
    """Return the bytes of an image at a path or URL. Raises ImageError or OSError."""
    if name.startswith(("http://", "https://")):
        return download_image(name)
    return Path(name).read_bytes()
