"""T10 T11: from a JPEG file to normalised pixels, against OpenAI's own pipeline.

One file after another on one thread, torch kept to one thread too: what decoding costs, not how
well it is spread. The limit is Pillow's decoding alone, into RGB and nothing more.
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
from zeroshot.images import ImageLike
from zeroshot.spec import OPENAI_STD

OVER = "OpenAI's pipeline"
FLOAT32 = "float32"
Prepare = Callable[[ImageLike], object]


def measure(run: Run) -> Iterator[Row]:
    """Measure what is asked for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        folder = transformers_folder(run, "ViT-B/32")
        exact = zeroshot.load(folder, device="cpu", dtype=FLOAT32)
        # which is a CPU's own choice where it multiplies bfloat16, and resamples by torch
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
    """Time one way of preparing against OpenAI's, on pictures of one size."""
    size = run.size(size, (96, 72))
    files = photographs(run, size, run.size(count, 2))
    name = "fast decoding" if number == "T11" else "zeroshot"
    what = f"pixels of {size[0]}x{size[1]} JPEGs, {name} : {OVER}"
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
        f"{ms[name]:.2f} : {ms[OVER]:.2f} ms, decoding alone {ms[alone]:.2f}; files of "
        f"{mean_bytes(files) / 1e3:.0f} kB; at most {levels.max():.1f} grey levels apart, "
        f"cosine {cosine:.6f}",
        most=most,
        share=found.ratio(name, alone),
        limit="decoding alone",
    )


def each(work: Prepare, files: Sequence[Path]) -> None:
    """Prepare files one after another."""
    for file in files:
        work(file)


def decode_only(path: Path, side: int | None) -> None:
    """Decode a file, at the smallest scale that leaves `side` pixels, and do nothing with it."""
    with Image.open(path) as picture:
        if side is not None:
            picture.draft("RGB", (side, side))
        picture.load()


if __name__ == "__main__":
    main(measure, __doc__)
