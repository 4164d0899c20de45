"""Share the arguments, the reading and the messages of the recipes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import zeroshot
from examples.paper.datasets.base import DataSet, Entry
from examples.paper.datasets.table import TABLE, load
from examples.paper.samples import sample
from zeroshot import Classifier, Model, Report
from zeroshot.errors import ZeroshotError, shortened
from zeroshot.evaluation import text

FAILURES = 5  # printed
LARGEST_SEED = 2**32 - 1


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser without arguments, described by the first line of a docstring."""
    return argparse.ArgumentParser(
        description=(description or "").partition("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,  # keeps the lines of --list
    )


def data_parser(
    description: str | None, limited: str = "a random sample of N images"
) -> argparse.ArgumentParser:
    """Return a parser of the data set, the model and the limit, described by a docstring."""
    result = parser(description)
    result.add_argument("name", metavar="NAME", help="name of a data set")
    result.add_argument("folder", type=Path, metavar="FOLDER", help="the folder with its files")
    result.add_argument("--model", default="mini", help="name or path of a model (default: mini)")
    result.add_argument("--limit", type=int, metavar="N", help=f"use {limited}, to try a recipe")
    return result


def seed(text: str) -> int:
    """Return a seed, within 0..LARGEST_SEED, of the command line."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= LARGEST_SEED):
        raise argparse.ArgumentTypeError(
            f"expected an integer within 0..{LARGEST_SEED}, got {shortened(repr(text))}"
        )
    return int(text)


def add_seed(parser: argparse.ArgumentParser, description: str) -> None:
    """Add a seed to a parser."""
    parser.add_argument("--seed", type=seed, default=0, help=f"{description} (default: 0)")


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add the part of the data set to a parser."""
    parser.add_argument(
        "--split", default="test", help="test (default), train, or another part of the data set"
    )


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """Add the prompts to a parser."""
    parser.add_argument("--prompts", help="prompt set or template (default: those of the data set)")


def read(
    given: argparse.Namespace, split: str, table: Mapping[str, Entry] = TABLE
) -> tuple[Entry, DataSet]:
    """Read a part of the data set of the arguments, or its sample; return also its row."""
    data = load(given.name, given.folder, split, table)
    return table[given.name], sample(data, given.limit)


def classifier(
    model: Model,
    entry: Entry,
    data: DataSet,
    prompts: str | None = None,
    *,
    synonyms: bool = True,
) -> Classifier:
    """Make a classifier of a data set's labels, with all names of each label in its prompt set.

    `prompts` are a prompt set or template instead of those of the data set.
    """
    known = zeroshot.prompts.labels(entry.prompts) if synonyms else {}
    names = {label: known.get(label, label) for label in data.labels}
    return model.classifier(names, prompts or entry.prompts)


def remarks(given: argparse.Namespace, report: Report, note: str = "") -> list[str]:
    """Return the last lines of an output: what the intervals are, failures and notes."""
    lines = [text.INTERVALS]
    if report.failures:
        lines.append(text.failure_line(report))
        lines += [f"  {failure.error}" for failure in report.failures[:FAILURES]]
    notes = [note] if note else []
    if given.limit is not None:
        notes.append(f"a random sample of {report.n} images, and not all of them.")
    return [*lines, *(f"Note: {each}" for each in [*notes, *report.notes])]


def progress(line: str) -> None:
    """Print what a recipe does; the results alone are on the standard output."""
    print(line, file=sys.stderr, flush=True)


def run(main: Callable[[list[str]], None]) -> None:
    """Run a recipe on the command line; expected errors are printed without a traceback."""
    try:
        main(sys.argv[1:])
    except (ZeroshotError, OSError) as error:
        sys.exit(f"error: {error}")
