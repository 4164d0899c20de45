"""JPEG files of given sizes, generated from this repository's photographs.

Enlarged images are smooth, so grain is added until a file has a typical number of bytes for its
size: the cost of decoding depends on bytes as well as on pixels.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from table import Run

from zeroshot.diagnostics.bench import SEED

PHOTOS = Path(__file__).parent.parent / "examples" / "photos"
QUALITY = 88
SMALL, FULL_HD, TWELVE_MP = (500, 375), (1920, 1080), (4000, 3000)
GRAIN = {SMALL: 0.0, FULL_HD: 4.0, TWELVE_MP: 3.0}  # gray levels, standard deviation


@cache
def _originals() -> list[Image.Image]:
    files = sorted(PHOTOS.glob("*.jpg"))
    return [Image.open(file).convert("RGB") for file in files]


def photographs(run: Run, size: tuple[int, int], count: int) -> list[Path]:
    """Return `count` JPEG files of this size; create missing ones."""
    folder = run.work / f"photographs-{size[0]}x{size[1]}"
    folder.mkdir(exist_ok=True)
    files = [folder / f"{n:04}.jpg" for n in range(count)]
    for n, file in enumerate(files):
        if not file.exists():
            part = file.with_suffix(f".{os.getpid()}")
            _photograph(n, size).save(part, "JPEG", quality=QUALITY)
            os.replace(part, file)
    return files


def _photograph(n: int, size: tuple[int, int]) -> Image.Image:
    """Return the n-th photograph; repeats are mirrored and cropped differently."""
    originals = _originals()
    picture = originals[n % len(originals)]
    turn = n // len(originals)
    if turn % 2:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    margin = 2 * (turn // 2 % 20)
    box = (margin, margin, picture.width - margin, picture.height - margin)
    picture = picture.resize(size, Image.Resampling.LANCZOS, box=box)
    if not (grain := GRAIN.get(size, 0.0)):
        return picture
    noise = np.random.default_rng(SEED + n).normal(0, grain, (size[1], size[0], 1))
    levels = np.asarray(picture, dtype=np.float32) + noise
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def mean_bytes(files: list[Path]) -> float:
    """Return the mean size of files in bytes."""
    return sum(file.stat().st_size for file in files) / len(files)
