"""T10 T11: from a JPEG file to normalized pixels, compared with OpenAI's preprocessing.

Files are processed sequentially on one thread, and torch uses one thread too: this measures the
cost of decoding, not parallelism. The limit is Pillow's decoding to RGB alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import peers
import torch
from checkpoints import agreement, config, transformers_folder
from photographs import FULL_HD, SMALL, TWELVE_MP, mean_bytes, photographs
from PIL import Image
from table import Row, Run, main

import zeroshot
from zeroshot.diagnostics.bench import alternate
from zeroshot.spec import OPENAI_STD

OVER = "OpenAI's pipeline"
FLOAT32 = "float32"
Prepare = Callable[[Path], object]


def measure(run: Run) -> Iterator[Row]:
    """Measure the selected targets."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        folder = transformers_folder(run, "ViT-B/32")
        exact = zeroshot.load(folder, device="cpu", dtype=FLOAT32)
        # the default on CPUs with native bfloat16; resamples in torch
        usual = zeroshot.load(folder, device="cpu", dtype="bfloat16")
        if run.wants("T10"):
            for size, count in ((SMALL, 40), (FULL_HD, 12)):
                yield compare(run, "T10", exact, usual.prepare, size, count, 0.60)
        if run.wants("T11"):
            quick = zeroshot.load(folder, device="cpu", dtype="bfloat16", decode="fast")
            for size, count, most in ((FULL_HD, 12, 0.40), (TWELVE_MP, 4, 0.26)):
                yield compare(run, "T11", exact, quick.prepare, size, count, most)
    finally:
        torch.set_num_threads(threads)


def compare(
    run: Run,
    number: str,
    model: zeroshot.Model,
    prepare: Prepare,
    size: tuple[int, int],
    count: int,
    most: float,
) -> Row:
    """Compare one preprocessing mode with OpenAI's, on images of one size."""
    size = run.size(size, (96, 72))
    files = photographs(run, size, run.size(count, 2))
    name = "fast decoding" if number == "T11" else "zeroshot"
    what = f"preprocessing of {size[0]}x{size[1]} JPEGs, {name} vs. {OVER}"
    alone = "decoding alone"
    side = config(run, "ViT-B/32").vision.image_size
    decode = partial(decode_only, side=2 * side if number == "T11" else None)
    contenders = {name: partial(each, prepare, files), alone: partial(each, decode, files)}
    transform = None
    if peers.installed("clip", "torchvision"):
        transform = peers.openai_transform(side)
        contenders[OVER] = partial(each, lambda path: transform(Image.open(path)), files)
    found = alternate(contenders, rounds=run.size(7, 1))
    ms = {who: found.median(who) / len(files) * 1e3 for who in contenders}
    if transform is None:
        return Row(number, what, None, f"{ms[name]:.2f} ms", most=most)
    wanted = np.stack([transform(Image.open(path)).numpy() for path in files])
    got = np.stack([np.asarray(prepare(path)) for path in files])
    levels = np.abs(got - wanted).max(axis=(0, 2, 3)) * np.asarray(OPENAI_STD) * 255
    cosine = agreement(model.encode_pixels(got), model.encode_pixels(wanted))
    return Row(
        number,
        what,
        1 / found.ratio(name, OVER),
        f"{ms[name]:.2f} vs. {ms[OVER]:.2f} ms, decoding alone {ms[alone]:.2f}; files of "
        f"{mean_bytes(files) / 1e3:.0f} kB; at most {levels.max():.1f} gray levels apart, "
        f"cosine {cosine:.6f}",
        most=most,
        share=found.ratio(name, alone),
        limit="decoding alone",
    )


def each(work: Prepare, files: Sequence[Path]) -> None:
    """Preprocess files sequentially."""
    for file in files:
        work(file)


def decode_only(path: Path, side: int | None) -> None:
    """Decode a file at the smallest scale with at least `side` pixels, and discard it."""
    with Image.open(path) as picture:
        if side is not None:
            picture.draft("RGB", (side, side))
        picture.load()


if __name__ == "__main__":
    main(measure, __doc__)
