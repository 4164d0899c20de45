"""Turn files and decoded pictures into gray levels on the device, in parts of limited size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from zeroshot.engine import resampling
from zeroshot.engine.backend import Encoded, Levels, Picture
from zeroshot.engine.cuda.jpeg import JpegDecoder
from zeroshot.engine.cuda.resizing import Resizer
from zeroshot.engine.cuda.runtime import Runtime
from zeroshot.engine.cuda.staging import Staging
from zeroshot.engine.torch_state import inference
from zeroshot.errors import ImageError
from zeroshot.images import Sample

COUNT, PIXELS = 128, 32 * 2**20  # of the canvases of one part, at most; one picture may be larger
WASTE = 2  # canvases of a part have at most this many times the pixels of its smallest picture

Pending = Encoded | Picture


class Pictures:
    """Decodes and resamples images on one device; threads may use it at once."""

    def __init__(self, runtime: Runtime, staging: Staging, device: torch.device) -> None:
        self._runtime, self._device = runtime, device
        self._resizer = Resizer(staging, device)
        self.jpegs = JpegDecoder(device)

    def to_levels(self, images: Sequence[Any]) -> list[Any]:
        """Replace each file and picture by Levels, or by an ImageError; others are returned."""
        found = list(images)
        pending = [place for place, image in enumerate(images) if isinstance(image, Pending)]
        # similar sizes are neighbors, so that canvases fit
        pending.sort(key=lambda place: get_size(images[place]))
        for part in _split([(place, *get_size(images[place])) for place in pending]):
            squares = self._to_squares([images[place] for place in part])
            for place, square in zip(part, squares, strict=True):
                image = images[place]
                if square is None:
                    found[place] = _decode_on_cpu(image)
                else:
                    preprocess = image.preprocess
                    found[place] = Levels(square, preprocess.mean, preprocess.std)
        return found

    def _to_squares(self, images: Sequence[Pending]) -> list[Tensor | None]:
        """Return uint8 [3, s, s] for each image, or None for a file that was not decoded."""
        squares: list[Tensor | None] = [None] * len(images)
        resized: list[Tensor] = []
        with inference(self._device, torch.float32), self._runtime.aside() as stream:
            files = [image.file for image in images if isinstance(image, Encoded)]
            decoded = iter(self.jpegs.decode(files, stream) if files else ())
            groups: dict[Any, list[tuple[int, Picture]]] = {}
            for place, image in enumerate(images):
                picture: Picture | None
                if isinstance(image, Encoded):
                    pixels = next(decoded)
                    picture = None if pixels is None else Picture(pixels, image.preprocess)
                else:
                    picture = image
                if picture is not None:
                    groups.setdefault(picture.preprocess, []).append((place, picture))
            for group in groups.values():
                levels = self._resizer.resize([picture for _, picture in group])
                resized.append(levels)
                for (place, _), square in zip(group, levels.unbind(0), strict=True):
                    squares[place] = square
        for levels in resized:
            self._runtime.receive(levels)
        return squares


def get_size(image: Pending) -> tuple[int, int]:
    """Return the height and the width of an upright image."""
    if isinstance(image, Picture):
        return int(image.values.shape[0]), int(image.values.shape[1])
    header = image.file.header
    sides = header.height, header.width
    return sides[::-1] if header.orientation >= 5 else sides


def _split(images: Sequence[tuple[int, int, int]]) -> Iterator[list[int]]:
    """Split places with heights and widths into parts whose canvases are not too large."""
    part: list[int] = []
    height = width = smallest = 0
    for place, rows, columns in images:
        high, wide = max(height, rows), max(width, columns)
        area, least = high * wide, min(smallest or rows * columns, rows * columns)
        full = len(part) == COUNT or (len(part) + 1) * area > PIXELS or area > WASTE * least
        if part and full:
            yield part
            part, high, wide, least = [], rows, columns, rows * columns
        part.append(place)
        height, width, smallest = high, wide, least
    if part:
        yield part


def _decode_on_cpu(image: Encoded) -> Levels | ImageError:
    """Decode a file that the device did not decode."""
    preprocess = image.preprocess
    try:
        levels = resampling.levels(Sample(image.file.name, image.file.content), preprocess)
    except ImageError as error:
        return error
    return Levels(levels, preprocess.mean, preprocess.std)
