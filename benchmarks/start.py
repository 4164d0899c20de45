"""T13: from an empty process to the first answer, against the transformers pipeline.

Processes started anew for every figure: one image, three labels, the same ViT-B/32 from this disk,
each in what it does by default. Time runs until the answer is printed: with torch a process takes
half a second more to end. The limit is a process that only imports torch.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile

import peers
from checkpoints import transformers_folder
from photographs import SMALL, photographs
from table import Row, Run, main

LABELS = ["a cat", "a dog", "a bridge"]
OURS, OVER = "zeroshot", "transformers pipeline"
TORCH, PYTHON, HELP, IMPORTS = "import torch", "python", "zeroshot --help", "zeroshot's imports"
OWN_IMPORTS = 0.15  # seconds, beyond torch and numpy
HELP_SECONDS = 0.15
# A process begins with the peak of the one that started it, so Linux's own counter is read there.
TELL = """
print("\\nanswered", flush=True)
import pathlib, resource, sys
lines = pathlib.Path("/proc/self/status")
if lines.exists():
    peak = next(x.split()[1] for x in lines.read_text().splitlines() if x.startswith("VmHWM"))
    print(int(peak) * 1024 / 1e6)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@dataclass(frozen=True)
class Life:
    """What one process took."""

    seconds: float  # until it had its answer
    memory: float  # MB, at its peak


def measure(run: Run) -> Iterator[Row]:
    """Start processes in turn, and take medians of ratios."""
    if not run.wants("T13"):
        return
    lives = lived(run, programs(run), run.size(7, 1))
    seconds = {name: [life.seconds for life in found] for name, found in lives.items()}
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    memory = {name: statistics.median(x.memory for x in found) for name, found in lives.items()}
    share = ratio(seconds[TORCH], seconds[OURS])
    for what, figures, most in (
        (f"start to first answer, {OURS} : {OVER}", medians, 0.35),
        (f"peak memory, {OURS} : {OVER}", memory, 0.65),
    ):
        unit, digits = ("s", 2) if figures is medians else ("MB", 0)
        theirs = f" : {figures[OVER]:.{digits}f}" if OVER in figures else ""
        text = (
            f"{figures[OURS]:.{digits}f}{theirs} {unit}, import torch {figures[TORCH]:.{digits}f}"
        )
        if OVER not in lives:
            yield Row("T13", what, None, text, most=most)
        elif figures is medians:
            reached = ratio(seconds[OURS], seconds[OVER])
            yield Row("T13", what, reached, text, None, most, share, TORCH)
        else:
            yield Row("T13", what, memory[OURS] / memory[OVER], text, None, most)
    beyond = statistics.median(
        ours - torch for ours, torch in zip(seconds[IMPORTS], seconds[TORCH], strict=True)
    )
    yield Row(
        "T13",
        f"own imports beyond torch : {OWN_IMPORTS} s",
        max(beyond, 0.0) / OWN_IMPORTS,
        f"{beyond:.2f} s",
        most=1.0,
    )
    yield Row(
        "T13",
        f"zeroshot --help : {HELP_SECONDS} s",
        medians[HELP] / HELP_SECONDS,
        f"{medians[HELP]:.3f} s, an empty python {medians[PYTHON]:.3f}",
        most=1.0,
    )


def programs(run: Run) -> dict[str, str]:
    """Write what the processes run."""
    folder = str(transformers_folder(run, "ViT-B/32"))
    image = str(photographs(run, run.size(SMALL, (96, 72)), 1)[0])
    found = {
        OURS: f"import zeroshot\nzeroshot.classify({image!r}, {LABELS!r}, model={folder!r}, top=3)",
        TORCH: "import torch, numpy, PIL.Image",
        IMPORTS: "import torch, numpy, PIL.Image, zeroshot.api",
        HELP: "import sys; sys.argv = ['zeroshot', '--help']\n"
        "from zeroshot.cli import main; main(standalone_mode=False)",
        PYTHON: "pass",
    }
    if peers.installed("transformers"):
        found[OVER] = (
            "from transformers import pipeline\n"
            f"work = pipeline('zero-shot-image-classification', model={folder!r}, device='cpu')\n"
            f"work({image!r}, candidate_labels={LABELS!r})"
        )
    return found


def lived(run: Run, programs: dict[str, str], rounds: int) -> dict[str, list[Life]]:
    """Run every program in every round, after one round that only warms the page cache."""
    lives: dict[str, list[Life]] = {name: [] for name in programs}
    for turn in range(rounds if run.quick else rounds + 1):
        for name, program in programs.items():
            life = live(program)
            if turn or run.quick:
                lives[name].append(life)
    return lives


def live(program: str) -> Life:
    """Run a program in a process of its own, which tells its answer, then its peak of memory."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ZEROSHOT_CACHE": "off",  # labels are embedded anew, as on the first day
    }
    command = [sys.executable, "-c", program + TELL]
    with TemporaryFile("w+") as complaints:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                if line == "answered\n":
                    break
            seconds = time.perf_counter() - start
            rest = process.stdout.read()
        if process.returncode:
            complaints.seek(0)
            raise RuntimeError(
                f"exit status {process.returncode} from:\n{program}\n{complaints.read()}"
            )
    return Life(seconds, float(rest))


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of ratios within rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main(measure, __doc__)
