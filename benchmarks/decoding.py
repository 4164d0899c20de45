"""D1 D2 D3: JPEG files decoded by the extra `fast` (simplejpeg), compared with Pillow alone.

Both sides are zeroshot, with the same pixels as a result. D1 is from a file to the input of the
network on one thread, D2 is how much of that time Python's lock is held, and D3 is from files to
the top 5 of 1000 labels on all cores. All times are processor time, because other programs may use
the machine. D2 requires py-spy (`pip install py-spy`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from checkpoints import config
from photographs import FULL_HD, SMALL, TWELVE_MP, mean_bytes, photographs
from table import Row, Run, main

import zeroshot
from zeroshot.diagnostics.bench import random_model
from zeroshot.engine import resample
from zeroshot.engine.resampling import levels
from zeroshot.images import opening
from zeroshot.images.jpeg import find_decoder
from zeroshot.images.preprocess import Preprocess

FAST, PILLOW = "simplejpeg", "Pillow"
TINY = (96, 72)
LABELS = 1000
SECONDS = 20  # that py-spy samples each decoder
RATE = 500  # samples per second
NETWORK_SIZE = 224
Work = Callable[[Path], object]
# name, size of the files, their number, decode=, what is done
STEPS: tuple[tuple[str, tuple[int, int], int, str], ...] = (
    ("levels", SMALL, 40, "exact"),
    ("levels", FULL_HD, 10, "exact"),
    ("levels", TWELVE_MP, 3, "exact"),
    ("levels", FULL_HD, 10, "fast"),
    ("levels", TWELVE_MP, 3, "fast"),
    ("bfloat16 pixels", SMALL, 40, "exact"),
    ("bfloat16 pixels", FULL_HD, 10, "exact"),
)


def measure(run: Run) -> Iterator[Row]:
    """Measure the selected parts."""
    if find_decoder().library is None:
        raise SystemExit(f"expected simplejpeg as decoder, got {find_decoder()}")
    threads = torch.get_num_threads()
    if run.wants("D1"):
        torch.set_num_threads(1)
        yield from files_to_pixels(run)
        torch.set_num_threads(threads)
    if run.wants("D2"):
        yield from lock(run)
    if run.wants("D3"):
        yield files_to_labels(run)


@contextlib.contextmanager
def decoder(name: str) -> Iterator[None]:
    """Use one of the decoders."""
    if name == FAST:
        yield
        return
    with mock.patch.object(opening, "decode_jpeg", return_value=None):
        yield


def worker(step: str, decode: str) -> Work:
    """Return the function that does a step for a file."""
    preprocess = Preprocess(NETWORK_SIZE, decode=decode)  # type: ignore[arg-type]
    if step == "levels":
        return lambda path: levels(path, preprocess)
    return lambda path: resample(preprocess.open_pixels(path), preprocess)


def processor_times(work: Callable[[], object], rounds: int) -> Mapping[str, Sequence[float]]:
    """Run both decoders in alternation: processor seconds of all threads, by decoder."""
    seconds: dict[str, list[float]] = {FAST: [], PILLOW: []}
    for turn in range(rounds + 1):
        for name in list(seconds)[:: -1 if turn % 2 else 1]:
            with decoder(name):
                start = time.process_time()
                work()
                seconds[name].append(time.process_time() - start)
    return {name: each[1:] for name, each in seconds.items()}  # the first round is a warm-up


def ratio(seconds: Mapping[str, Sequence[float]]) -> float:
    """Return the median over the rounds of the time of Pillow, as a multiple of simplejpeg's."""
    return statistics.median(b / a for a, b in zip(seconds[FAST], seconds[PILLOW], strict=True))


def row(number: str, what: str, seconds: Mapping[str, Sequence[float]], files: list[Path]) -> Row:
    """Return a row that compares the decoders."""
    ms = {name: 1e3 * statistics.median(each) / len(files) for name, each in seconds.items()}
    figures = f"{ms[FAST]:.2f} vs. {ms[PILLOW]:.2f} ms of one core per file"
    figures += f"; files of {mean_bytes(files) / 1e3:.0f} kB"
    return Row(number, what, ratio(seconds), figures)


def files_to_pixels(run: Run) -> Iterator[Row]:
    """D1: each step and size on one thread; both decoders give equal results."""
    for step, size, count, decode in STEPS:
        size = run.size(size, TINY)
        files = photographs(run, size, run.size(count, 2))
        work = worker(step, decode)
        for file in files:
            found = work(file)
            with decoder(PILLOW):
                np.testing.assert_array_equal(found, work(file))
        seconds = processor_times(partial(each, work, files), run.size(9, 1))
        kind = "" if decode == "exact" else ' with decode="fast"'
        yield row("D1", f"{size[0]}x{size[1]} JPEG to {step}{kind}", seconds, files)


def each(work: Work, files: Sequence[Path]) -> None:
    """Process files one after another."""
    for file in files:
        work(file)


def lock(run: Run) -> Iterator[Row]:
    """D2: the share of the time of D1 in which Python's lock is held."""
    what = "500x375 JPEG to levels, share of the time under Python's lock"
    profiler = shutil.which("py-spy")
    if profiler is None:
        yield Row("D2", what, None, "py-spy is not installed")
        return
    files = photographs(run, run.size(SMALL, TINY), run.size(40, 2))
    shares = {
        name: share_under_lock(profiler, files[0].parent, name, run) for name in (FAST, PILLOW)
    }
    figures = f"{shares[FAST]:.1%} vs. {shares[PILLOW]:.1%} of the samples of a running thread"
    yield Row("D2", what, shares[PILLOW] / max(shares[FAST], 1e-3), figures)


def share_under_lock(profiler: str, folder: Path, name: str, run: Run) -> float:
    """Sample a process that only decodes, and return the share of samples with the lock."""
    command = [sys.executable, __file__, "--decode", str(folder), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it runs
        try:
            counts = [samples(profiler, child.pid, run, flags) for flags in (["--gil"], [])]
        finally:
            child.send_signal(signal.SIGTERM)
    return counts[0] / max(counts[1], 1)


def samples(profiler: str, pid: int, run: Run, flags: Sequence[str]) -> int:
    """Return how many samples of a process py-spy takes."""
    out = run.work / f"samples-{os.getpid()}.txt"
    options = ["--format", "raw", "--rate", str(RATE), "--duration", str(run.size(SECONDS, 1))]
    subprocess.run(
        [profiler, "record", *flags, *options, "--pid", str(pid), "--output", str(out)],
        check=True,
        capture_output=True,
    )
    lines = out.read_text("utf-8").splitlines() if out.exists() else []
    out.unlink(missing_ok=True)
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


def decode_forever(folder: Path, name: str) -> None:
    """Decode the files of a folder until the process is stopped."""
    torch.set_num_threads(1)
    files, work = sorted(folder.glob("*.jpg")), worker("levels", "exact")
    with decoder(name):
        each(work, files)
        print("ready", flush=True)
        while True:
            each(work, files)


def files_to_labels(run: Run) -> Row:
    """D3: classify files on all cores, with the default precision of this machine."""
    model = random_model(config(run, "ViT-B/32"))
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(run.size(LABELS, 10), model.embed_dim, generator=random)
    names = tuple(f"label {n}" for n in range(len(weight)))
    head = zeroshot.Head(
        labels=names,
        weight=torch.nn.functional.normalize(weight),
        logit_scale=100.0,
        logit_bias=None,
        model=model.identity,
        names=tuple((name,) for name in names),
        templates=("{}",),
        prompts="plain",
    )
    files = photographs(run, run.size(SMALL, TINY), run.size(120, 4))
    classifier = model.classifier(head)
    seconds = processor_times(lambda: list(classifier.stream(files, top=5)), rounds=run.size(7, 1))
    precision = str(model.dtype).removeprefix("torch.")
    return row("D3", f"files to top 5 of {len(weight)} labels, {precision}", seconds, files)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--decode"]:
        decode_forever(Path(sys.argv[2]), sys.argv[3])
    main(measure, __doc__)
