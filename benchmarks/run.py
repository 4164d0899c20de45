"""Measure everything against the peers, write results.md, and draw results.png for the README.

Each group runs in a process of its own, so that none inherits another's memory or threads; with
--quick they share one, to be done in seconds.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import chart
import peers
from table import (
    Row,
    Run,
    as_markdown,
    as_text,
    options,
    read_rows,
    replace,
    run_of,
    write_rows,
)

from zeroshot import __version__
from zeroshot.diagnostics.bench import GEMM_SIDE, gemm, machine

HERE = Path(__file__).parent
GROUPS = {
    "images": {"T1", "T2", "T4", "T5", "T6", "T14"},
    "text": {"T7", "T9"},
    "pixels": {"T10", "T11"},
    "files": {"T12"},
    "start": {"T13"},
}


def main() -> None:
    """Run the groups that are asked for."""
    parser = options(__doc__)
    parser.add_argument(
        "--out", type=Path, help="where results go; by default here, and nowhere with --quick"
    )
    arguments = parser.parse_args()
    run = run_of(arguments)
    rows: list[Row] = []
    for name, numbers in GROUPS.items():
        if run.wants(*numbers):
            print(f"\n{name}", flush=True)
            if run.quick:
                found = list(importlib.import_module(name).measure(run))
                print(as_text(found))
            else:
                found = apart(name, run, arguments)
            rows += found
    out = arguments.out or (None if run.quick else HERE)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        rows = with_earlier(rows, run.work / "rows.json")
        replace(out / "results.md", report(rows))
        chart.draw(rows, out / "results.png")
        print(f"written: {out / 'results.md'}, {out / 'results.png'}")


def apart(name: str, run: Run, arguments: argparse.Namespace) -> list[Row]:
    """Run a group, which prints its own table, in a process of its own."""
    answer = run.work / f"{name}.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(answer)]
    command += ["--work", str(arguments.work), "--only", arguments.only]
    subprocess.run(command, check=True)
    return read_rows(answer)


def with_earlier(rows: list[Row], kept: Path) -> list[Row]:
    """Add the rows of earlier runs that this one did not measure, in the order of targets."""
    numbers = {row.number for row in rows}
    rows = rows + [row for row in read_rows(kept) if row.number not in numbers]
    rows.sort(key=lambda row: int(row.number.removeprefix("T")))
    write_rows(rows, kept)
    return rows


def report(rows: Sequence[Row]) -> str:
    """Write the page of results."""
    facts = machine()
    packages = ", ".join(f"{name} {release}" for name, release in peers.versions().items())
    reached = sum(row.verdict == "yes" for row in rows)
    amx = "it has AMX" if "AMX" in facts["instructions"] else "it has no AMX"
    stated = sum(bool(row.verdict) for row in rows)
    kept = sorted(path.name for path in HERE.glob("results-*.md"))
    others = "".join(f"\nKept from another machine: [{name}]({name})\n" for name in kept)
    return f"""# Speed, measured against the peers

Written by `make bench` (benchmarks/run.py); do not edit. {date.today()}.

Machine: {facts["processor"]}, cores: {facts["cores"]}, {facts["instructions"]};
{platform.platform(terse=True)}, Python {facts["python"]}.
Versions: zeroshot {__version__}, {packages}.

Weights are random and seeded, the same for all where `cosine` is stated (the least one, against the
peer). Contenders take turns in one process; `reached` is the median of ratios within rounds; the
figures are medians, ours first. GEMM is a square matrix multiplication of {GEMM_SIDE}, timed
between the rounds: of its speed `of the limit` is a part, unless another limit is named there. The
machine is shared, so compare ratios, not speeds, and those of one row only; rows of different
numbers may be of different hours, since `--only` measures some anew and keeps the rest. T3 would be
int8, which zeroshot does not have (docs/speed.md); there is no T8.

The targets were set on a processor with AMX, which multiplies bfloat16 five to eight times as fast
as float32. This one does {bfloat16_gain():.1f} times ({amx}), which bounds what bfloat16 can gain.

{reached} of {stated} targets reached.

{as_markdown(rows)}

![Bars of speed against the physical limit](results.png)
{others}"""


def bfloat16_gain() -> float:
    """Say how many times as fast as float32 this machine multiplies bfloat16."""
    return statistics.median(gemm("bfloat16") / gemm("float32") for _ in range(5))


if __name__ == "__main__":
    main()
