"""Benchmark results: rows with target, ratio, figures and fraction of the physical limit."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

Value = TypeVar("Value")

HEADER = ("", "comparison", "target", "ratio", "reached", "of the limit", "figures")


@dataclass(frozen=True)
class Row:
    """One target and its result in this run."""

    number: str  # T1 to T17, or G1 to G7 of a GPU
    what: str
    reached: float | None  # a ratio; None if the other side is not installed
    figures: str  # the underlying medians, and the GEMM probe
    least: float | None = None  # target ratio if higher is better
    most: float | None = None  # target ratio if lower is better
    share: float | None = None  # fraction of the physical limit named in `limit`
    limit: str = ""
    bars: Mapping[str, float] = field(default_factory=dict)  # speeds by contender, zeroshot first
    unit: str = ""  # unit of the bars
    result: str = ""  # instead of a ratio: a count or a limit of the machine

    @property
    def target(self) -> str:
        """Return the target as text."""
        if self.least is not None:
            return f"≥ {self.least:g}x"
        return "" if self.most is None else f"≤ {self.most:g}x"

    @property
    def verdict(self) -> str:
        """Return whether the target was reached; empty without a target or a result."""
        if self.reached is None or (self.least is None and self.most is None):
            return ""
        if self.least is not None:
            return "yes" if round(self.reached, 2) >= self.least else "no"
        return "yes" if self.most is not None and round(self.reached, 4) <= self.most else "no"

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the row as text cells."""
        return (
            self.number,
            self.what,
            self.target,
            self.result or ("not installed" if self.reached is None else ratio(self.reached)),
            self.verdict,
            "" if self.share is None else f"{self.share:.0%} of {self.limit}",
            self.figures,
        )


def ratio(value: float) -> str:
    """Format a ratio with its significant digits."""
    return f"{value:.0f}x" if value >= 100 else f"{value:.1f}x" if value >= 20 else f"{value:.3g}x"


@dataclass(frozen=True)
class Run:
    """How much to measure."""

    quick: bool  # tiny networks and few inputs: a smoke test without meaningful speeds
    only: frozenset[str]  # targets; empty for all
    work: Path  # folder for checkpoints and images, reused between runs

    def wants(self, *numbers: str) -> bool:
        """Return whether one of these targets is selected."""
        return not self.only or not self.only.isdisjoint(numbers)

    def size(self, full: Value, tiny: Value) -> Value:
        """Return the full size, or the tiny one with --quick."""
        return tiny if self.quick else full


def options(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options shared by all benchmarks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, as a smoke test")
    parser.add_argument("--only", default="", help="targets to measure, for example T1,T7")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "zeroshot-benchmarks",
        help="folder for checkpoints and images (default: %(default)s)",
    )
    return parser


def run_of(arguments: argparse.Namespace) -> Run:
    """Convert parsed options to a Run and create its folder."""
    work = arguments.work / ("quick" if arguments.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    only = frozenset(name.strip().upper() for name in arguments.only.split(",") if name.strip())
    return Run(arguments.quick, only, work.resolve())


def main(measure: Callable[[Run], Iterable[Row]], description: str | None) -> None:
    """Run one group, print its table, and write it as JSON with `--json`."""
    parser = options(description)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    rows = list(measure(run_of(arguments)))
    print(as_text(rows))
    if arguments.json:
        write_rows(rows, arguments.json)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows as JSON."""
    replace(path, json.dumps([asdict(row) for row in rows], indent=1))


def read_rows(path: Path) -> list[Row]:
    """Read rows written by `write_rows`; empty if there is no file."""
    if not path.exists():
        return []
    return [Row(**row) for row in json.loads(path.read_text("utf-8"))]


def as_text(rows: Sequence[Row]) -> str:
    """Format rows for a terminal."""
    cells = [HEADER, *(row.cells for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table."""
    lines = ["| " + " | ".join(row.cells) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|", *lines])


def replace(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replace_bytes(path) as file:
        file.write(text.encode())


@contextmanager
def replace_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for atomic writing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
