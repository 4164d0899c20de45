"""Corrupt small valid files at random, and report how the readers handle them.

    python -m tests.fuzz.run --count 200000 --seed 7

Prints how many files of each kind were read and rejected. A file that raises an exception from
outside zeroshot, or takes five seconds, is stored in --keep, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from tests.fuzz.mutations import MAX_SECONDS, SEED, trials


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: Counter[tuple[str, str]] = Counter()
    bad = 0
    start = time.monotonic()
    last = time.process_time()  # of this process alone, however busy the machine
    for name, content, outcome in trials(options.count, options.seed):
        now = time.process_time()
        escaped = isinstance(outcome, BaseException)
        if escaped or now - last > MAX_SECONDS:
            bad += 1
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{name}-{options.seed}-{bad}").write_bytes(content)
            print(f"{name}: {outcome!r} after {now - last:.1f} s", file=sys.stderr)
        counts[name, "ESCAPED" if escaped else str(outcome)] += 1
        last = time.process_time()
    for (name, outcome), count in sorted(counts.items()):
        print(f"{count:9,d}  {name:<12} {outcome}")
    print(f"{options.count:9,d}  in {time.monotonic() - start:.0f} s, {bad} of them bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
