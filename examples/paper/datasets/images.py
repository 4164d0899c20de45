"""Make images when they are read, from numbers in a file or from parts of other images."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zeroshot.errors import ImageError, InputError, image_error


@dataclass(frozen=True)
class LazyImage:
    """An image that is made when it is read: numbers in a file, or a part of another image.

    zeroshot reads it like an open file, on the threads that decode images, and lists it as a
    failure under `name` if it cannot be made.

    Args:
        name: What results and errors show.
        make: Returns the image: a Pillow image, or uint8 [h, w, 3] or [h, w].
    """

    name: str
    make: Callable[[], Image.Image | NDArray[np.uint8]]

    def read(self) -> bytes:
        """Return the image as an uncompressed image file. Raises ImageError."""
        try:
            made = self.make()
        except ImageError:
            raise
        except InputError as error:
            raise image_error("decode_failed", self.name, str(error)) from error
        buffer = io.BytesIO()
        image = made if isinstance(made, Image.Image) else Image.fromarray(made)
        image.save(buffer, "PPM")
        return buffer.getvalue()


def lazy_images(
    names: Iterable[str], decode: Callable[[int], NDArray[np.uint8]]
) -> list[LazyImage]:
    """Return an image for each name; `decode` returns the one at a position."""
    return [LazyImage(name, partial(decode, n)) for n, name in enumerate(names)]


def keys(file: Path, count: int) -> list[str]:
    """Return the names of `count` images in a file."""
    return [f"{file.name}/{n}" for n in range(count)]
