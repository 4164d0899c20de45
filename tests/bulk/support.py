"""Helpers of the tests of bulk labeling: a stubbed encoder, images and folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support import COLORS, NAMES, FakeEncoder, encoded
from zeroshot.bulk.items import Item
from zeroshot.bulk.labeling import RowOptions
from zeroshot.classifier import Classifier
from zeroshot.head import Head
from zeroshot.images import ImageLike


class Stub(FakeEncoder):
    """Embeds an image by its mean color, and counts the images."""

    def __init__(self) -> None:
        self.images = 0

    def encode_pixels(self, pixels: Any, **options: Any) -> Any:
        self.images += len(pixels)
        return super().encode_pixels(pixels, **options)


def make_classifier() -> Classifier:
    """Return a classifier of flat images by their color."""
    encoder = Stub()
    return Classifier(encoder, Head.build(encoder, NAMES, "{}"))


def save_images(folder: Path, count: int, *, broken: Sequence[int] = ()) -> list[Path]:
    """Write flat images, red, green, blue, ..., each of different bytes; some are damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"{number:05}.png"
        color = list(COLORS.values())[number % 3]
        picture = np.full((8, 8 + number % 5, 3), color, np.uint8)
        picture[0, 0] = number % 256, number // 256, 0
        content = encoded(Image.fromarray(picture), "PNG")
        path.write_bytes(b"garbage" if number in broken else content)
        paths.append(path)
    return paths


class Stream:
    """A source that is read from its start, as an archive is."""

    kind = "stream"
    splits = False

    def __init__(
        self, images: Sequence[ImageLike | Exception], columns: tuple[str, ...] = ()
    ) -> None:
        self.images = images
        self.columns = columns
        self.name = "stream"
        self.reads = 0

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "size": len(self.images)}

    def count(self) -> None:
        return None

    def items(self, first: int = 0) -> Iterator[Item]:
        for place, image in enumerate(self.images[first:], first):
            yield self._make(place, image)

    def _make(self, place: int, image: ImageLike | Exception) -> Item:
        def read() -> ImageLike:
            self.reads += 1
            if isinstance(image, Exception):
                raise image
            return image

        return Item(f"stream#{place}", read, tuple(place for _ in self.columns))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of the parts of an output folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


PLAIN = RowOptions()
