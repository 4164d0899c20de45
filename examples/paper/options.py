"""Share the arguments and the error messages of the recipes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from zeroshot import Classifier, Model, prompts
from zeroshot.errors import ZeroshotError
from zeroshot.prompts import PromptSet

from .datasets.base import DataSet
from .datasets.table import load
from .samples import sample


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the data set, the model, the split and the limit."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("name", nargs="?", metavar="NAME", help="a data set of --list")
    result.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="the folder with its files"
    )
    result.add_argument("--model", default="mini", help="name or path of a model (default: mini)")
    result.add_argument("--split", default="test", help="test (default) or train")
    result.add_argument(
        "--limit", type=int, metavar="N", help="use a random sample of N images, to try a recipe"
    )
    return result


def read(arguments: argparse.Namespace) -> DataSet:
    """Read the data set of the arguments, or its sample."""
    return sample(load(arguments.name, arguments.folder, arguments.split), arguments.limit)


def classifier(
    model: Model, name: str, data: DataSet, templates: PromptSet | str, *, synonyms: bool = True
) -> Classifier:
    """Make a classifier of a data set's labels, with all names of each label in the prompt set."""
    known = prompts.labels(name) if synonyms else {}
    return model.classifier({label: known.get(label, label) for label in data.labels}, templates)


def run(main: Callable[[list[str]], None]) -> None:
    """Run a recipe on the command line; expected errors are printed without a traceback."""
    try:
        main(sys.argv[1:])
    except (ZeroshotError, OSError) as error:
        sys.exit(f"error: {error}")
