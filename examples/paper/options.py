"""Share the arguments, the reading and the messages of the recipes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from examples.paper.datasets.base import DataSet, Entry
from examples.paper.datasets.table import TABLE, load
from examples.paper.samples import sample
from zeroshot import Classifier, Model, Report, prompts
from zeroshot.errors import ZeroshotError
from zeroshot.evaluation import text
from zeroshot.prompts import PromptSet

FAILURES = 5  # printed


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the data set, the model and the limit, described by a docstring."""
    result = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    result.add_argument("name", nargs="?", metavar="NAME", help="name of a data set")
    result.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="the folder with its files"
    )
    result.add_argument("--model", default="mini", help="name or path of a model (default: mini)")
    result.add_argument(
        "--limit", type=int, metavar="N", help="use a random sample of N images, to try a recipe"
    )
    return result


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add the part of the data set to a parser."""
    parser.add_argument(
        "--split", default="test", help="test (default), train, or another part of the data set"
    )


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """Add the prompts to a parser."""
    parser.add_argument("--prompts", help="prompt set or template (default: those of the data set)")


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of a recipe; without NAME and FOLDER, exit with a usage error."""
    given = parser.parse_args(arguments)
    if given.folder is None and not getattr(given, "list", False):
        parser.error("expected NAME and FOLDER")
    return given


def read(
    given: argparse.Namespace, split: str, table: Mapping[str, Entry] = TABLE
) -> tuple[Entry, DataSet]:
    """Read a part of the data set of the arguments, or its sample; return also its row."""
    data = load(given.name, given.folder, split, table)
    return table[given.name], sample(data, given.limit)


def classifier(
    model: Model, name: str, data: DataSet, templates: PromptSet | str, *, synonyms: bool = True
) -> Classifier:
    """Make a classifier of a data set's labels, with all names of each label in the prompt set."""
    known = prompts.labels(name) if synonyms else {}
    return model.classifier({label: known.get(label, label) for label in data.labels}, templates)


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


def run(main: Callable[[list[str]], None]) -> None:
    """Run a recipe on the command line; expected errors are printed without a traceback."""
    try:
        main(sys.argv[1:])
    except (ZeroshotError, OSError) as error:
        sys.exit(f"error: {error}")
