"""Measure whether decoding or the image tower limits a machine.

Files are prepared without a tower, pixels are embedded without files, and files are embedded, all
through the interface of the backend. On a GPU the first two overlap, so the slower one is the
limit. On a CPU they share the cores, so the slower one takes most of the time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from zeroshot.images.jpeg import INSTALL, find_decoder
from zeroshot.machine import cores
from zeroshot.model import Model
from zeroshot.resources import sample_image

FILE_SIZE = (500, 375)  # pixels, as most photographs of ImageNet
QUALITY = 88
ROUNDS = 3
SECONDS = 0.5  # per measurement and round
GPU_BATCH, CPU_BATCH = 256, 32  # images embedded at once
EQUAL = 1.1  # ratio below which neither of two speeds is the limit


@dataclass(frozen=True)
class Feeding:
    """Images per second of the parts of a pipeline from files to embeddings."""

    decoder: str  # of ordinary JPEG files
    backend: str
    device: str
    threads: int  # cores that this process may use
    file: str  # what was decoded
    prepared: float  # files per second to pixels, without the tower
    embedded: float  # images per second from pixels on the device
    together: float  # files per second to embeddings
    reference: bool = False  # decoded by Pillow whatever is installed: float32 or `parity`

    @property
    def limit(self) -> str:
        """Return "decoding" or "the image tower", or "neither" if both are equally fast."""
        slow, fast = sorted((self.prepared, self.embedded))
        if fast < EQUAL * slow:
            return "neither"
        return "decoding" if self.prepared < self.embedded else "the image tower"

    @property
    def rates(self) -> str:
        """Return both speeds as text."""
        prepared, embedded = format_rate(self.prepared), format_rate(self.embedded)
        return f"{prepared} images/s prepared, {embedded} embedded"

    @property
    def advice(self) -> str:
        """Return how to prepare images faster; empty if that would not help."""
        if self.limit != "decoding":
            return ""
        decoder = find_decoder()
        if decoder.library is None and not self.reference:
            update = f"update Pillow and simplejpeg: {INSTALL} -U"
            return update if decoder.is_installed else INSTALL
        return "use decode='fast' for large files, or a machine with more CPU cores"

    @property
    def verdict(self) -> str:
        """Return one line that says what limits this machine."""
        if self.limit == "neither":
            return f"decoding and the image tower are equally fast: {self.rates}"
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.limit} limits this machine: {self.rates}{advice}"


def measure_feeding(model: Model, *, seconds: float = SECONDS) -> Feeding:
    """Measure how fast this machine prepares and embeds images.

    Each part runs in three rounds of at least `seconds`; the median is used. The files are copies
    of a photograph of 500 x 375 pixels. The image tower of `model` is loaded.

    Example:
        >>> model = zeroshot.load("mini")
        >>> measure_feeding(model, seconds=0.01).prepared > 0
        True
    """
    batch = GPU_BATCH if model.device.type == "cuda" else CPU_BATCH
    batch = batch if seconds >= SECONDS else 2
    pixels = torch.rand(batch, 3, model.preprocess.square, model.preprocess.square)
    pixels = pixels.to(model.device)
    with tempfile.TemporaryDirectory(prefix="zeroshot-") as folder:
        file = _photograph(Path(folder))
        size = f"JPEG of {FILE_SIZE[0]} x {FILE_SIZE[1]} pixels, {file.stat().st_size / 1e3:.0f} kB"
        files = [file] * (2 * batch)
        load, decode = model._load, model._decode
        parts: dict[str, tuple[int, Callable[[], object]]] = {
            "prepared": (len(files), lambda: list(model.map_batches(load, decode, files))),
            "embedded": (batch, lambda: model.encode_pixels(pixels)),
            "together": (len(files), lambda: model.encode_image(files, progress=False)),
        }
        for _, work in parts.values():
            _finish(model, work)
        rates: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(ROUNDS):
            for name, (count, work) in parts.items():
                rates[name].append(_per_second(model, work, count, seconds))
    reference = model.preprocess.parity or model.dtype == torch.float32
    return Feeding(
        decoder=model._engine.backend.describe_decoder(model.preprocess),
        backend=type(model._engine.backend).__name__,
        device=str(model.device),
        threads=cores(),
        file=size,
        reference=reference,
        **{name: statistics.median(found) for name, found in rates.items()},
    )


def _photograph(folder: Path) -> Path:
    """Write a photograph of a usual size."""
    path = folder / "photograph.jpg"
    with Image.open(sample_image()) as image:
        image.convert("RGB").resize(FILE_SIZE).save(path, "JPEG", quality=QUALITY)
    return path


def _per_second(model: Model, work: Callable[[], object], count: int, seconds: float) -> float:
    """Repeat work on `count` images for a time; return the images per second."""
    start, done = time.perf_counter(), 0
    while True:
        _finish(model, work)
        done += count
        if (elapsed := time.perf_counter() - start) >= seconds:
            return done / elapsed


def _finish(model: Model, work: Callable[[], object]) -> None:
    """Do work and wait for the device."""
    work()
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def format_rate(speed: float) -> str:
    """Format a speed as a part of a message."""
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
