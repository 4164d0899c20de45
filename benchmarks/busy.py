"""Classify one image while other programs use cores of this CPU.

Not part of `make bench`, which compares with other libraries. `CpuBackend._run` is based on these
results. "all cores" never reduces the number of cores, "adaptive" is the default, and "list" gives
the classifier a list of one image, which one worker thread processes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, sleep
from unittest import mock

import zeroshot
from zeroshot.classifier import Classifier
from zeroshot.diagnostics.bench import machine, random_model
from zeroshot.engine.cpu import backend
from zeroshot.machine import cores

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "cat.jpg"
ROUNDS, IMAGES = 5, 40
SECONDS = {"all cores": 0.0, "adaptive": backend.BUSY_SECONDS, "list": backend.BUSY_SECONDS}


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Run programs that each use one core."""
    running = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)
    ]
    try:
        sleep(0.5)
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def measure(classifier: Classifier) -> dict[str, list[float]]:
    """Return the milliseconds per image of each contender."""
    times: dict[str, list[float]] = {name: [] for name in SECONDS}
    for _ in range(ROUNDS):
        for name, seconds in SECONDS.items():
            with mock.patch.object(backend, "BUSY_SECONDS", seconds):
                sleep(backend.BUSY_SECONDS if name == "all cores" else 0)
                for _ in range(IMAGES):
                    start = perf_counter()
                    classifier([PHOTO] if name == "list" else PHOTO)
                    times[name].append(1000 * (perf_counter() - start))
    return times


def main() -> None:
    """Print one line per model and number of other programs."""
    print(", ".join(machine().values()))
    models = {"ViT-B/32": random_model(device="cpu"), "mini": zeroshot.load("mini")}
    classifiers = {name: model.classifier(["cat", "dog"]) for name, model in models.items()}
    for programs in range(cores() + 1):
        for name, classifier in classifiers.items():
            with busy(programs):
                times = measure(classifier)
            shown = ", ".join(
                f"{contender} {median(found):.1f} ms (90 %: {quantiles(found, n=10)[-1]:.1f})"
                for contender, found in times.items()
            )
            print(f"{programs} programs, {name}: {shown}", flush=True)


if __name__ == "__main__":
    main()
