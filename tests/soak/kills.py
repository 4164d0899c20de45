"""Kill runs of `zeroshot.label` at random moments, and compare their tables with undisturbed ones.

    python -m tests.soak.kills --kills 500 --seed 7

Runs read files, tar, tar.gz, zip and Parquet and write all formats, one process or three shards at
once. They get SIGKILL, SIGINT or SIGTERM, are killed between the steps of writing a file, or get
ENOSPC or EIO. A run is started again until it ends; its table must then be that of a run without
disturbance, to the byte. Prints the counts; the exit code is 1 if anything was lost or differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.soak.faults import draw_fault, small_disk
from tests.soak.runs import (
    FAILED,
    FORMATS,
    FULL,
    SOURCES,
    STOPPED,
    Audit,
    Case,
    Inputs,
    compare,
    fork,
    start,
    wait,
)

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
VARIANTS = ("plain", "plain", "embeddings", "dedupe")
KILLS_OF_A_TABLE = 8
FILES = 20  # that a run writes, about: parts, `_run.json`, the lock, ...
SMALL, LARGE = "48k", "16m"  # sizes of a disk that is full, and of one that is not
FULL_TEXT = "ENOSPC or EIO of a write"


class Soak:
    """Many runs, and what became of them."""

    def __init__(self, work: Path, seed: int, *, disks: bool = True) -> None:
        self.work = work
        self._disks = disks  # mount small ones, where that is allowed
        self.draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._durations: dict[str, float] = {}
        self._inputs = Inputs(work / "inputs")
        self._inputs.folder.mkdir(parents=True, exist_ok=True)
        assert wait(fork(self._inputs.write, work / "inputs.log")) == 0
        self._inputs.read()

    @property
    def kills(self) -> int:
        """Return the number of kills at random moments so far."""
        return self.counts["kills at random moments"]

    def run(self, kills: int) -> None:
        """Disturb runs until so many were killed at random moments."""
        for number, case in enumerate(self._cases()):
            if self.kills >= kills:
                return
            with self._place(number, case) as out:
                self._disturb(case, out, kills)
                audit = self._finish(case, out)
                self._add(case, number, audit)

    def _cases(self) -> Iterator[Case]:
        """Yield kinds of runs: each source and format in turn."""
        pairs = [(source, form) for source in SOURCES for form in FORMATS]
        while True:
            self.draw.shuffle(pairs)
            for source, form in pairs:
                shards = 3 if self.draw.random() < 0.3 else 1
                yield Case(source, form, self.draw.choice(VARIANTS), shards)

    @contextmanager
    def _place(self, number: int, case: Case) -> Iterator[Path]:
        """Create a folder for a table, sometimes on a disk that is full; then delete it."""
        folder = self.work / f"{number:05}"
        folder.mkdir()
        out = folder / "disk" / "out"
        out.parent.mkdir()
        self._whole(case)
        if number % 10 or not self._disks:
            yield out
        else:
            with small_disk(out.parent, SMALL) as resize:
                if resize is not None:
                    before = self.counts[FULL_TEXT]
                    self._round(case, out, disturb=False)
                    self.counts["runs that filled a disk"] += self.counts[FULL_TEXT] > before
                    resize(LARGE)
                yield out
        if not self.problems:
            shutil.rmtree(folder)

    def _whole(self, case: Case) -> Path:
        """Return the table of a run without disturbance."""
        whole = self.work / case.name
        if case.name not in self._durations:
            began = time.monotonic()
            shards = case.shards if case.variant == "dedupe" else 1
            case = Case(case.source, case.form, case.variant, shards)
            for shard in range(shards):
                code = wait(start(case, self._inputs, whole, shard=shard))
                assert code == 0, f"{case}: {code}: {whole.with_suffix('.log').read_text()}"
            self._durations[case.name] = time.monotonic() - began
        return whole

    def _disturb(self, case: Case, out: Path, kills: int) -> None:
        """Start a run and disturb it until it ends, or was killed often."""
        most = min(kills, self.kills + KILLS_OF_A_TABLE)
        while self.kills < most:
            if self._round(case, out, disturb=True):
                return

    def _round(self, case: Case, out: Path, *, disturb: bool) -> bool:
        """Start all shards once; return whether all of them ended undisturbed."""
        kind = self.draw.random() if disturb else 1.0
        fault = None
        if kind >= 0.7 and disturb:
            fault = draw_fault(self.draw, FILES, kill=kind < 0.85)
        bad_reads = 0.0
        if disturb and case.variant != "dedupe" and self.draw.random() < 0.1:
            bad_reads = 0.05
            self.counts["runs with EIO of images"] += 1
        victim = self.draw.randrange(case.shards)
        children = [
            start(
                case,
                self._inputs,
                out,
                shard=shard,
                fault=fault if shard == victim else None,
                bad_reads=bad_reads,
            )
            for shard in range(case.shards)
        ]
        killed = self._kill(case, children, victim) if disturb and fault is None else []
        codes = [wait(child) for child in children]
        self.counts["runs"] += len(codes)
        for child, code in zip(children, codes, strict=True):
            self._count(code, child in killed, out)
        return not any(codes)

    def _kill(self, case: Case, children: list[int], victim: int) -> list[int]:
        """Send signals to one child or to all, at a random moment; return the children."""
        time.sleep(self.draw.uniform(0, 0.5) * self._durations[case.name])
        chosen = children if self.draw.random() < 0.3 else [children[victim]]
        number = self.draw.choice(SIGNALS)
        twice = number != signal.SIGKILL and self.draw.random() < 0.2
        for child in chosen:
            os.kill(child, number)
        if twice:
            time.sleep(0.002)
            for child in chosen:
                os.kill(child, number)
        return chosen

    def _count(self, code: int, was_killed: bool, out: Path) -> None:
        """Count how a run ended."""
        if was_killed and code in (-9, -2, -15, STOPPED):
            self.counts["kills at random moments"] += 1
            self.counts[f"exit code {code}"] += 1
        elif code == -9:
            self.counts["kills between the steps of a write"] += 1
        elif code == FULL:
            self.counts[FULL_TEXT] += 1
        elif code != 0:
            log = out.with_suffix(".log")
            text = log.read_text()[-3000:] if log.exists() else ""
            self.problems.append(f"{out}: exit code {code}: {text}")

    def _finish(self, case: Case, out: Path) -> Audit:
        """End a run, twice, and compare its table; the second time there is nothing to do."""
        for _ in range(2):
            for shard in range(case.shards):
                code = wait(start(case, self._inputs, out, shard=shard, retry=True))
                self.counts["runs"] += 1
                if code != 0:
                    self._count(FAILED, False, out)
        return compare(self._whole(case), out)

    def _add(self, case: Case, number: int, audit: Audit) -> None:
        """Add the result of a table."""
        self.counts["tables"] += 1
        self.counts[f"tables from {case.source}"] += 1
        self.counts[f"tables in {case.form}"] += 1
        self.counts["tables of three shards"] += case.shards > 1
        self.counts["rows lost"] += audit.lost
        self.counts["rows doubled"] += audit.doubled
        self.counts["rows that differ"] += audit.differing
        self.counts["parts that differ"] += audit.parts
        self.counts["other files that differ or are left over"] += len(audit.others)
        if not audit.is_clean:
            self.problems.append(f"{number:05} {case}: {audit}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--work", type=Path, help="folder for the tables; kept after a problem")
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    parser.add_argument("--no-disks", action="store_true", help="mount no small disks")
    options = parser.parse_args()
    began = time.monotonic()
    work = options.work or Path(tempfile.mkdtemp(prefix="zeroshot-soak-"))
    work.mkdir(parents=True, exist_ok=True)
    soak = Soak(work.resolve(), options.seed, disks=not options.no_disks)
    soak.run(options.kills)
    seconds = time.monotonic() - began
    for name, value in soak.counts.items():
        print(f"{value:8}  {name}")
    print(f"{seconds:8.0f}  seconds")
    for problem in soak.problems:
        print(problem, file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps({"counts": soak.counts, "problems": soak.problems}))
    if not soak.problems:
        shutil.rmtree(work)
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
