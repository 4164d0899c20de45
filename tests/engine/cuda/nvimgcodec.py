"""A stand-in for nvidia.nvimgcodec that decodes with Pillow, and declines what it is told to."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.engine.cuda.support import MEAN, STD
from tests.support import photograph
from zeroshot.engine.backend import Levels
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.errors import ImageError
from zeroshot.images.preprocess import Preprocess

Image_ = NDArray[np.uint8]
FAST = Preprocess(40, mean=MEAN, std=STD, decode="fast")
LEVELS = 1  # by which resampling on a device may differ from Pillow's


class FakeLibrary(ModuleType):
    """The module; `declines` says which files it does not decode."""

    __version__ = "0.9.0"
    ColorSpec = SimpleNamespace(SRGB="sRGB")

    def __init__(
        self,
        declines: Callable[[bytes], bool] = lambda _: False,
        offset: int = 0,
        leaves_out: bool = False,
    ) -> None:
        super().__init__("nvidia.nvimgcodec")
        self.declines, self.offset, self.leaves_out = declines, offset, leaves_out
        self.sizes: list[int] = []  # files of each call
        self.options = ""
        self.busy = threading.Lock()

    def CodeStream(self, content: bytes) -> bytes:
        if not content.startswith(b"\xff\xd8"):
            raise RuntimeError("Failed to get image info")
        return content

    def DecodeParams(self, **params: Any) -> dict[str, Any]:
        assert params == {"apply_exif_orientation": False, "color_spec": "sRGB"}
        return params

    def Decoder(self, device_id: int, options: str) -> FakeDecoder:
        self.options = options
        return FakeDecoder(self)


class FakeDecoder:
    """A decoder that fails if two threads use it at once, as the real one does."""

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library

    def decode(
        self, given: bytes | Sequence[bytes], *, params: Any, cuda_stream: int
    ) -> list[Image_ | None] | Image_ | None:
        if not self.library.busy.acquire(blocking=False):
            raise RuntimeError("std::future_error: Broken promise")
        try:
            if isinstance(given, bytes):
                return self._decode(given)
            self.library.sizes.append(len(given))
            found = [self._decode(content) for content in given]
            return [each for each in found if each is not None] if self._leaves_out else found
        finally:
            self.library.busy.release()

    @property
    def _leaves_out(self) -> bool:
        return self.library.leaves_out

    def _decode(self, content: bytes) -> Image_ | None:
        if self.library.declines(content):
            return None
        try:
            with Image.open(io.BytesIO(content)) as image:
                pixels = np.array(image.convert("RGB"))
        except OSError:
            return None
        return np.asarray((pixels.astype(int) + self.library.offset).clip(0, 255), dtype=np.uint8)


def install(fake: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", fake)


def jpeg(width: int = 90, height: int = 70, seed: int = 0, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photograph(width, height, seed)).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def load(backend: CudaBackend, *images: bytes) -> list[Levels | ImageError]:
    return backend.decode([backend.load(image, FAST) for image in images])


def worst(found: Levels | ImageError, content: bytes) -> int:
    assert isinstance(found, Levels)
    expected = Preprocess(40, mean=MEAN, std=STD).levels(content)
    return int(np.abs(np.asarray(found.values).astype(int) - expected).max())
