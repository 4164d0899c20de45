"""Turn files and decoded pictures into gray levels on the device, in parts of limited size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
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

log = logging.getLogger("zeroshot")


class Pictures:
    """Decodes and resamples images on one device; threads may use it at once."""

    def __init__(self, runtime: Runtime, staging: Staging, device: torch.device) -> None:
        self._runtime, self._device = runtime, device
        self._resizer = Resizer(staging, device)
        self.jpegs = JpegDecoder(runtime, device)
        self._most = COUNT  # images of a part

    def to_levels(self, images: Sequence[Any]) -> list[Any]:
        """Replace each file and picture by Levels, or by an ImageError; others are returned.

        All are of one model, whose preprocessing they have.
        """
        found = list(images)
        pending = [place for place, image in enumerate(images) if isinstance(image, Pending)]
        # similar sizes are neighbors, so that canvases fit
        pending.sort(key=lambda place: get_size(images[place]))
        sizes = [(place, *get_size(images[place])) for place in pending]
        for part in _split(sizes, self._most):
            squares = self._to_squares_that_fit([images[place] for place in part])
            for place, square in zip(part, squares, strict=True):
                image = images[place]
                if square is None:
                    found[place] = _resample_on_cpu(image)
                else:
                    preprocess = image.preprocess
                    found[place] = Levels(square, preprocess.mean, preprocess.std)
        return found

    def _to_squares_that_fit(self, images: Sequence[Pending]) -> list[Tensor | None]:
        """Return what `_to_squares` does, and None for an image that the memory has no room for.

        If the device runs out of memory, half as many are tried, then and in later calls.
        """
        try:
            return self._to_squares(images)
        except torch.OutOfMemoryError:
            pass  # go on outside of this block, whose traceback holds tensors
        self._runtime.release_memory()
        if len(images) == 1:
            return [None]
        half = len(images) // 2
        self._most = min(self._most, half)
        log.warning("out of memory: %d pictures are resampled at once from now on", self._most)
        parts = images[:half], images[half:]
        return [square for part in parts for square in self._to_squares_that_fit(part)]

    def _to_squares(self, images: Sequence[Pending]) -> list[Tensor | None]:
        """Return uint8 [3, s, s] for each image, or None for a file that was not decoded."""
        with inference(self._device, torch.float32), self._runtime.aside() as stream:
            files = [image.file for image in images if isinstance(image, Encoded)]
            decoded = iter(self.jpegs.decode(files, stream) if files else ())
            pictures: list[Picture | None] = []
            for image in images:
                if isinstance(image, Picture):
                    pictures.append(image)
                else:
                    pixels = next(decoded)
                    pictures.append(None if pixels is None else Picture(pixels, image.preprocess))
            given = [picture for picture in pictures if picture is not None]
            levels = self._resizer.resize(given) if given else None
        if levels is None:
            return [None] * len(images)
        self._runtime.receive(levels)
        squares = iter(levels.unbind(0))
        return [None if picture is None else next(squares) for picture in pictures]


def get_size(image: Pending) -> tuple[int, int]:
    """Return the height and the width of an upright image."""
    if isinstance(image, Picture):
        return int(image.values.shape[0]), int(image.values.shape[1])
    header = image.file.header
    sides = header.height, header.width
    return sides[::-1] if header.orientation >= 5 else sides


def _split(images: Sequence[tuple[int, int, int]], most: int) -> Iterator[list[int]]:
    """Split places with heights and widths into parts of at most `most`, on limited canvases."""
    part: list[int] = []
    height = width = smallest = 0
    for place, rows, columns in images:
        high, wide = max(height, rows), max(width, columns)
        area, least = high * wide, min(smallest or rows * columns, rows * columns)
        full = len(part) >= most or (len(part) + 1) * area > PIXELS or area > WASTE * least
        if part and full:
            yield part
            part, high, wide, least = [], rows, columns, rows * columns
        part.append(place)
        height, width, smallest = high, wide, least
    if part:
        yield part


def _resample_on_cpu(image: Pending) -> Levels | ImageError:
    """Return the levels of an image that the device did not decode or resample."""
    preprocess = image.preprocess
    try:
        if isinstance(image, Picture):
            levels = resampling.resample_levels(np.asarray(image.values), preprocess)
        else:
            levels = resampling.levels(Sample(image.file.name, image.file.content), preprocess)
    except ImageError as error:
        return error
    return Levels(levels, preprocess.mean, preprocess.std)
