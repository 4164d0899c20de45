"""B5 B6 B7: files to a table with `zeroshot.label`, compared with `classifier.stream` alone.

B5 is the speed of both over the same JPEG files, in alternation; each round takes other files. B6
is the speed without a model: decoder and network are stubbed, and a million rows are read, hashed,
ranked and written. B7 is the growth of the memory in that run. Each of them needs pyarrow.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from checkpoints import config
from peers import installed
from photographs import SMALL, mean_bytes, photographs
from table import Row, Run, main
from torch import Tensor

import zeroshot
from zeroshot import lookahead
from zeroshot.classifier import Classifier
from zeroshot.diagnostics.bench import random_model
from zeroshot.errors import ImageError
from zeroshot.head import Head
from zeroshot.images import Sample
from zeroshot.machine import cores

LABELS = [f"label {n}" for n in range(100)]
# FILES=480 and ROWS=100000 in the environment make a run shorter
FILES, ROUNDS = int(os.environ.get("FILES", "2000")), 4
STREAM, TABLE, EMBEDDINGS = "stream", "label", "label with embeddings"
LEAST = 0.95  # of the speed of the stream
ROWS, BROKEN = int(os.environ.get("ROWS", "1000000")), 100  # one in so many files is damaged
STEP = 100_000  # rows between two looks at the memory
LEAST_ROWS = 15_000.0  # per second
MOST_GROWTH = 1.0  # MB per STEP
TINY = (64, 48)
DIM = 512
Seconds = Mapping[str, Sequence[float]]


def measure(run: Run) -> Iterator[Row]:
    """Measure the selected targets."""
    if not installed("pyarrow"):
        yield Row("B5", "files to a Parquet table", None, "pyarrow is not installed")
        return
    if run.wants("B5"):
        yield from files_to_table(run)
    if run.wants("B6", "B7"):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in the workers of a model on a CPU
        yield from (row for row in rows_without_model(run) if run.wants(row.number))
        torch.set_num_threads(threads)


def files_to_table(run: Run) -> Iterator[Row]:
    """B5: the same files to predictions and to a table, with two models."""
    files = photographs(run, run.size(SMALL, TINY), run.size(FILES, 8))
    models: dict[str, Callable[[], zeroshot.Model]] = {
        "mini": lambda: zeroshot.load("mini", device="cpu"),
        "ViT-B/32": lambda: random_model(config(run, "ViT-B/32"), device="cpu"),
    }
    for name, load in models.items():
        model = load()
        wall, processor = alternate(run, model.classifier(LABELS), files)
        precision = str(model.dtype).removeprefix("torch.")
        for form in (TABLE, EMBEDDINGS):
            figures = (
                f"{speed(wall, form, files):.1f} vs. {speed(wall, STREAM, files):.1f} images/s"
            )
            figures += f"; processor time {ratio(processor, form):.3f}x"
            figures += f"; files of {mean_bytes(files) / 1e3:.0f} kB"
            what = f"{name} {precision}, {form} vs. {STREAM}"
            yield Row("B5", what, ratio(wall, form), figures, LEAST)


def alternate(run: Run, classifier: Classifier, files: list[Path]) -> tuple[Seconds, Seconds]:
    """Return the seconds of each contender in each round, and those of the processor."""
    wall: dict[str, list[float]] = {STREAM: [], TABLE: [], EMBEDDINGS: []}
    processor: dict[str, list[float]] = {name: [] for name in wall}
    rounds = run.size(ROUNDS, 1)
    names = list(wall)
    for name in names:
        contender(run, classifier, files[: run.size(64, 4)], name)()
    for turn in range(rounds):
        for name in names[turn % 3 :] + names[: turn % 3]:
            work = contender(run, classifier, files[turn::rounds], name)
            start = time.perf_counter(), time.process_time()
            work()
            wall[name].append(time.perf_counter() - start[0])
            processor[name].append(time.process_time() - start[1])
    return wall, processor


def contender(
    run: Run, classifier: Classifier, files: list[Path], name: str
) -> Callable[[], object]:
    """Return a function that classifies files."""
    if name == STREAM:
        return lambda: list(classifier.stream(files))

    def label() -> None:
        out = Path(tempfile.mkdtemp(dir=run.work))
        paths = [str(file) for file in files]
        found = zeroshot.label(
            paths,
            out,
            classifier=classifier,
            format="parquet",
            embeddings=name == EMBEDDINGS,
            progress=False,
        )
        assert (found.rows, found.errors) == (len(files), {})
        shutil.rmtree(out)

    return label


def ratio(seconds: Seconds, name: str) -> float:
    """Return the median over the rounds of the speed, as a multiple of the stream's."""
    return statistics.median(a / b for a, b in zip(seconds[STREAM], seconds[name], strict=True))


def speed(seconds: Seconds, name: str, files: Sequence[Path]) -> float:
    """Return images per second."""
    return len(files) / sum(seconds[name])


class Stub:
    """An encoder that does not look at an image, but at the first bytes of its file."""

    identity = "stub"
    source = None
    logit_scale = 100.0
    logit_bias = None
    scoring: Literal["softmax"] = "softmax"
    is_busy = False

    def __init__(self) -> None:
        pool = ThreadPoolExecutor(cores())  # of a model on a CPU, a batch per worker
        self.map_batches = partial(lookahead.embed_batches, pool=pool)
        self.rows = 0
        self.memory: list[float] = []  # MB, every STEP rows
        self._lock = threading.Lock()
        self._embedding = torch.nn.functional.normalize(torch.ones(1, DIM))
        self._pixels = np.zeros((1, 1, 1), np.float32)

    def prepare(self, image: Any) -> Any:
        """Return pixels, or raise ImageError for a damaged file; counts both."""
        with self._lock:
            self.rows += 1
            if self.rows % STEP == 0:
                self.memory.append(resident())
        content: Any = image.image if isinstance(image, Sample) else image
        if not content.startswith(b"\xff\xd8"):
            raise ImageError("no JPEG file", kind="not_image", source="image")
        return self._pixels

    def encode_pixels(self, pixels: Any, **_: Any) -> Tensor:
        """Return the same embedding for each image."""
        return self._embedding.expand(len(pixels), -1).clone()


def resident() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / 1e6


def rows_without_model(run: Run) -> Iterator[Row]:
    """B6, B7: a table of many rows, with the decoder and the network stubbed."""
    files = photographs(run, TINY, run.size(1000, 10))
    folder = run.work / "labeling"
    folder.mkdir(exist_ok=True)
    names = []
    for number, file in enumerate(files):
        names.append(folder / file.name)
        names[-1].write_bytes(b"damaged" if number % BROKEN == 0 else file.read_bytes())
    rows = run.size(ROWS, 400)
    paths = [str(names[n % len(names)]) for n in range(rows)]
    encoder = Stub()
    weight = torch.nn.functional.normalize(torch.randn(len(LABELS), DIM))
    own = tuple((label,) for label in LABELS)
    head = Head(tuple(LABELS), weight, 100.0, None, "stub", own, ("{}",), "plain")
    out = Path(tempfile.mkdtemp(dir=run.work))
    start = time.perf_counter(), time.process_time()
    classifier = Classifier(encoder, head)
    found = zeroshot.label(paths, out, classifier=classifier, format="parquet", progress=False)
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    damaged = sum(number % len(names) % BROKEN == 0 for number in range(rows))
    assert (found.rows, found.errors) == (rows, {"not_image": damaged}), found
    shutil.rmtree(out)
    figures = (
        f"{rows / wall:,.0f} rows/s, {1e6 * processor / rows:.0f} us of processor time per row"
    )
    figures += f"; {rows:,} rows, {damaged:,} damaged"
    what = f"rows without a model vs. {LEAST_ROWS:,.0f}/s"
    yield Row("B6", what, rows / wall / LEAST_ROWS, figures, 1.0)
    memory = encoder.memory[1:]
    if len(memory) < 2:
        yield Row("B7", "growth of the memory", None, f"fewer than {3 * STEP:,} rows")
        return
    growth = statistics.linear_regression(range(len(memory)), memory).slope
    figures = f"{growth:+.2f} MB per {STEP:,} rows; MB: " + " ".join(f"{mb:.0f}" for mb in memory)
    what = f"growth of the memory vs. {MOST_GROWTH:g} MB per {STEP:,} rows"
    yield Row("B7", what, growth / MOST_GROWTH, figures, most=1.0)


if __name__ == "__main__":
    main(measure, __doc__)
