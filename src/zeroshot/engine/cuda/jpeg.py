"""Decode JPEG files on the GPU with nvImageCodec, an extra, for decode="fast".

Data-center GPUs have hardware for it; others decode with CUDA. The pixels are not Pillow's: with
the hardware of an H200 they differed by at most one gray level, without it by three. A file that
nvImageCodec does not decode is left to the CPU, which also reports what is wrong with it.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from zeroshot.engine.cuda.runtime import Runtime
from zeroshot.engine.fork_lock import ForkLock
from zeroshot.errors import shortened
from zeroshot.images.jpeg import JpegFile, make_sample

LARGEST = 2**20  # bytes of a file; larger ones are decoded on the CPU at a reduced size
DIFFERENCE = 8  # gray levels of the probe
OPTIONS = ":fancy_upsampling=1"  # interpolate colors as Pillow does, not repeat them
INSTALL = "pip install 'zeroshot-clip[nvjpeg]'"
UPRIGHT: dict[int, tuple[bool, tuple[int, ...]]] = {
    1: (False, ()),  # EXIF orientation -> whether rows and columns are exchanged, then axes to flip
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
    """Decodes JPEG files on one device; threads may use it at once."""

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

    def decode(self, files: Sequence[JpegFile], stream: int) -> list[Tensor | None]:
        """Decode files to upright uint8 [h, w, 3] on the device; None for one left to the CPU.

        The memory of the results is not torch's: wait for their last use before they are released.
        """
        found = self._find()
        assert not isinstance(found, str), "decode is called only if is_usable"
        try:
            with self._lock:
                decoded = _decode(*found, [file.content for file in files], stream)
        except Exception as error:  # not the fault of one file
            log.warning("nvImageCodec fails (%r); %d files are left to the CPU", error, len(files))
            return [None] * len(files)
        return [
            _turn(pixels, file.header.orientation)
            if pixels is not None
            and tuple(pixels.shape) == (file.header.height, file.header.width, 3)
            else None
            for file, pixels in zip(files, decoded, strict=True)
        ]

    def _find(self) -> tuple[Any, Any] | str:
        """Return nvidia.nvimgcodec and a decoder, or why it is not used."""
        if self._found is None:  # files are loaded without waiting for those being decoded
            with self._lock:
                self._found = self._found or self._try()
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
            with self._runtime.aside() as stream:  # also selects the device
                (found,) = _decode(library, decoder, [content], stream)
                if found is None:
                    return "CPU, because nvImageCodec decodes no JPEG file on this device"
                difference = np.abs(found.cpu().numpy().astype(int) - expected).max()
        except Exception as error:
            return f"CPU, because nvImageCodec fails ({shortened(repr(error), 150)})"
        if difference > DIFFERENCE:
            return f"CPU, because pixels of nvImageCodec differ by {difference} gray levels"
        return library, decoder


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
