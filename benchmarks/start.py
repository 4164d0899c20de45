"""T13: from a new process to the first result, compared with the transformers pipeline.

Each figure uses a new process: one image, three labels, the same ViT-B/32 from the local disk, with
default settings. Time is measured until the result is printed, because a process with torch takes
half a second more to exit. The limit is a process that only imports torch.
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
OWN_IMPORTS = 0.15  # seconds, in addition to torch and numpy
HELP_SECONDS = 0.15
# ru_maxrss includes the peak of the parent process, so VmHWM is read on Linux.
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
    """Time and memory of one process."""

    seconds: float  # until it printed its result
    memory: float  # peak, in MB


def measure(run: Run) -> Iterator[Row]:
    """Start processes alternately and take medians of ratios."""
    if not run.wants("T13"):
        return
    lives = lived(run, programs(run), run.size(7, 1))
    seconds = {name: [life.seconds for life in found] for name, found in lives.items()}
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    memory = {name: statistics.median(x.memory for x in found) for name, found in lives.items()}
    share = ratio(seconds[TORCH], seconds[OURS])
    for what, figures, most in (
        (f"start to first result, {OURS} vs. {OVER}", medians, 0.35),
        (f"peak memory, {OURS} vs. {OVER}", memory, 0.65),
    ):
        unit, digits = ("s", 2) if figures is medians else ("MB", 0)
        theirs = f" vs. {figures[OVER]:.{digits}f}" if OVER in figures else ""
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
        f"imports in addition to torch vs. {OWN_IMPORTS} s",
        max(beyond, 0.0) / OWN_IMPORTS,
        f"{beyond:.2f} s",
        most=1.0,
    )
    yield Row(
        "T13",
        f"zeroshot --help vs. {HELP_SECONDS} s",
        medians[HELP] / HELP_SECONDS,
        f"{medians[HELP]:.3f} s, empty Python process {medians[PYTHON]:.3f}",
        most=1.0,
    )


def programs(run: Run) -> dict[str, str]:
    """Return the programs that the processes run."""
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
    """Run every program in every round, after one warm-up round for the page cache."""
    lives: dict[str, list[Life]] = {name: [] for name in programs}
    for turn in range(rounds if run.quick else rounds + 1):
        for name, program in programs.items():
            life = live(program)
            if turn or run.quick:
                lives[name].append(life)
    return lives


def live(program: str) -> Life:
    """Run a program in a new process, which prints its result and then its peak memory."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ZEROSHOT_CACHE": "off",  # labels are embedded without a cache, as in a first run
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
