"""Decode JPEG files on the GPU with nvImageCodec, an extra, for decode="fast".

Data-center GPUs have hardware for it; others decode with CUDA. The pixels are not Pillow's. A file
that nvImageCodec does not decode is decoded on the CPU, which also reports what is wrong with it.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from zeroshot.engine import resampling
from zeroshot.engine.backend import Encoded, Levels
from zeroshot.engine.cuda.resizing import resize
from zeroshot.engine.cuda.runtime import Runtime
from zeroshot.engine.fork_lock import ForkLock
from zeroshot.errors import ImageError, shortened
from zeroshot.images import Sample
from zeroshot.images.jpeg import make_sample
from zeroshot.images.preprocess import LONGEST

LARGEST = 2**20  # bytes of a file; larger ones are decoded on the CPU at a reduced size
FILES, PIXELS = 128, 32 * 2**20  # decoded at once, at most
DIFFERENCE = 8  # gray levels of the probe; files of 4:2:0 differed by at most 3 on an H200
OPTIONS = ":fancy_upsampling=1"  # interpolate colors as Pillow does, not repeat them
INSTALL = "pip install 'zeroshot-clip[nvjpeg]'"
UPRIGHT = {  # EXIF orientation -> whether rows and columns are exchanged, then axes to flip
    1: (False, ()),
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}

log = logging.getLogger("zeroshot")


class JpegDecoder:
    """Decodes and resamples JPEG files on one device; threads may use it at once."""

    def __init__(self, runtime: Runtime, device: torch.device) -> None:
        self._runtime, self._device = runtime, device
        self._lock = ForkLock()  # two threads that use one decoder stop its worker threads
        self._found: tuple[Any, Any] | str | None = None  # the library and its decoder

    def __str__(self) -> str:
        found = self._find()
        return found if isinstance(found, str) else f"nvImageCodec {found[0].__version__}"

    @property
    def is_usable(self) -> bool:
        """Whether files can be decoded on this device; the first call tries it."""
        return not isinstance(self._find(), str)

    def _find(self) -> tuple[Any, Any] | str:
        """Return nvidia.nvimgcodec and a decoder, or why it is not used."""
        with self._lock:
            if self._found is None:
                self._found = self._try()
            return self._found

    def _try(self) -> tuple[Any, Any] | str:
        """Import the library and decode a small file."""
        # its messages about damaged files: they are decoded by Pillow, whose errors are reported
        os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
        try:
            library = importlib.import_module("nvidia.nvimgcodec")
        except ModuleNotFoundError:
            return f"CPU, because nvImageCodec is not installed; {INSTALL}"
        except Exception as error:  # a damaged installation, which must not affect other images
            return f"CPU, because nvImageCodec fails ({shortened(repr(error), 150)})"
        try:
            content, expected = make_sample(subsampling="4:2:0")
            decoder = library.Decoder(device_id=self._device.index or 0, options=OPTIONS)
            (found,) = _decode(library, decoder, [content], 0)
            if found is None:
                return "CPU, because nvImageCodec decodes no JPEG file on this device"
            difference = np.abs(found.cpu().numpy().astype(int) - expected).max()
        except Exception as error:
            return f"CPU, because nvImageCodec fails ({shortened(repr(error), 150)})"
        if difference > DIFFERENCE:
            return f"CPU, because pixels of nvImageCodec differ by {difference} gray levels"
        return library, decoder

    def decode(self, images: Sequence[Encoded]) -> list[Levels | ImageError]:
        """Decode files to gray levels on the device; one that cannot be read is an ImageError."""
        found: list[Levels | ImageError] = []
        for part in _split(images):
            squares = self._decode_part(part)
            found += [
                _decode_on_cpu(image)
                if square is None
                else Levels(square, image.preprocess.mean, image.preprocess.std)
                for image, square in zip(part, squares, strict=True)
            ]
        return found

    def _decode_part(self, images: Sequence[Encoded]) -> list[Tensor | None]:
        """Return uint8 [3, s, s] for each image, or None for one that was not decoded."""
        squares: list[Tensor | None] = [None] * len(images)
        batches: list[Tensor] = []
        found = self._find()
        if isinstance(found, str):
            return squares
        with torch.inference_mode(), self._runtime.aside() as stream:
            with self._lock:
                contents = [image.file.content for image in images]
                decoded = _decode(*found, contents, stream)
            groups: dict[Any, list[tuple[int, Tensor]]] = {}
            for place, (image, pixels) in enumerate(zip(images, decoded, strict=True)):
                header = image.file.header
                if pixels is None or tuple(pixels.shape) != (header.height, header.width, 3):
                    continue
                if max(pixels.shape) > LONGEST * min(header.height, header.width):
                    continue  # a line would grow to gigabytes
                upright = _turn(pixels, header.orientation)
                key = upright.shape, image.preprocess
                groups.setdefault(key, []).append((place, upright))
            for (_, preprocess), group in groups.items():
                resized = resize(torch.stack([pixels for _, pixels in group]), preprocess)
                batches.append(resized)
                for (place, _), square in zip(group, resized.unbind(0), strict=True):
                    squares[place] = square
        for batch in batches:
            self._runtime.receive(batch)
        return squares


def _split(images: Sequence[Encoded]) -> Iterator[Sequence[Encoded]]:
    """Split images into parts of at most FILES files and PIXELS pixels, or one image."""
    start, pixels = 0, 0
    for place, image in enumerate(images):
        size = image.file.header.width * image.file.header.height
        if place > start and (place - start == FILES or pixels + size > PIXELS):
            yield images[start:place]
            start, pixels = place, 0
        pixels += size
    if start < len(images):
        yield images[start:]


def _decode(
    library: Any, decoder: Any, contents: Sequence[bytes], stream: int
) -> list[Tensor | None]:
    """Decode files to uint8 [h, w, 3] on the device; None for one that was not decoded."""
    params = library.DecodeParams(apply_exif_orientation=False, color_spec=library.ColorSpec.SRGB)
    found: list[Tensor | None] = [None] * len(contents)
    sources, places = [], []
    for place, content in enumerate(contents):
        try:
            sources.append(library.CodeStream(content))
            places.append(place)
        except Exception as error:  # RuntimeError; the CPU reports what is wrong
            log.debug("a JPEG file is left to the CPU: %r", error)
    decoded = decoder.decode(sources, params=params, cuda_stream=stream) if sources else []
    if len(decoded) != len(sources):  # older versions leave out what they do not decode
        decoded = [decoder.decode(each, params=params, cuda_stream=stream) for each in sources]
    for place, image in zip(places, decoded, strict=True):
        found[place] = None if image is None else from_dlpack(image)
    return found


def _turn(pixels: Tensor, orientation: int) -> Tensor:
    """Turn pixels [h, w, 3] upright, from an EXIF orientation of 1 to 8."""
    swap, axes = UPRIGHT[orientation]
    turned = pixels.transpose(0, 1) if swap else pixels
    return turned.flip(axes) if axes else turned


def _decode_on_cpu(image: Encoded) -> Levels | ImageError:
    """Decode a file that the device did not decode."""
    preprocess = image.preprocess
    try:
        levels = resampling.levels(Sample(image.file.name, image.file.content), preprocess)
    except ImageError as error:
        return error
    return Levels(levels, preprocess.mean, preprocess.std)
