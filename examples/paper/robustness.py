"""Measure zero-shot accuracy on other images of ImageNet's classes, as in the paper's figure 13.

    python -m examples.paper.robustness imagenet-r FOLDER --model ViT-B/32
    python -m examples.paper.robustness objectnet FOLDER --imagenet IMAGENET

prints the accuracy with a 95 % interval. With --imagenet, also the accuracy on ImageNet's
validation images of the same classes, among the same labels, and the difference.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zeroshot
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.robustness import ROWS, imagenet_validation
from zeroshot import Classifier, Head, Model, Report
from zeroshot.errors import ZeroshotError
from zeroshot.evaluation.figures import Figure

FAILURES = 5  # printed
DRAWS = 10  # resamples; only top-1 is printed, and its interval needs none


def evaluate_among(model: Model, head: Head, data: DataSet) -> Report:
    """Evaluate a head of all ImageNet labels among the labels of a data set only.

    An image whose truth is a list of columns is right if the answer is one of them.
    """
    classifier = Classifier(model, head.select(data.labels))
    return zeroshot.evaluate(classifier, data.images, data.truth, draws=DRAWS)


def same_classes(folder: Path, data: DataSet) -> DataSet:
    """Return ImageNet's validation images of the classes of a data set, judged the same way.

    If the data set counts several classes as one, such as the two clocks of ObjectNet, an image of
    either is right with each of them.
    """
    groups = {
        column: list(truth) for truth in data.truth if isinstance(truth, list) for column in truth
    }
    images, labels = imagenet_validation(folder, data.labels)
    columns = {label: column for column, label in enumerate(data.labels)}
    truth: list[Any] = [columns[label] for label in labels]
    if groups:
        truth = [groups.get(column, [column]) for column in truth]
    return DataSet(images, truth, data.labels)


def difference(first: Figure, second: Figure) -> Figure:
    """Return the difference of two shares of different images with its 95 % interval.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions",
    method 10, from the Wilson intervals of both.
    """
    value = first.value - second.value
    assert first.low is not None
    assert first.high is not None
    assert second.low is not None
    assert second.high is not None
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Figure(value, low, high)


def percent(figure: Figure, sign: str = "") -> str:
    """Return a share as text: "63.2 % (62.1-64.3)"; `sign` "+" shows the sign."""
    assert figure.low is not None
    assert figure.high is not None
    value, low, high = (
        format(100 * each, f"{sign}.1f") for each in (figure.value, figure.low, figure.high)
    )
    return f"{value} % ({low}{' to ' if sign else '-'}{high})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.paper.robustness",
        description="Measure zero-shot accuracy on other images of ImageNet's classes.",
    )
    parser.add_argument("name", choices=sorted(ROWS))
    parser.add_argument("folder", type=Path, help="folder with the published files")
    parser.add_argument("--model", default="mini", help="name or path of a model")
    parser.add_argument("--imagenet", type=Path, help="folder with ImageNet's validation images")
    parser.add_argument("--prompts", help="prompt set or template; default: the paper's")
    given = parser.parse_args(arguments)
    entry = ROWS[given.name]
    try:
        data = entry.read(given.folder, "test")
        base = same_classes(given.imagenet, data) if given.imagenet else None
        model = zeroshot.load(given.model)
        # all labels are embedded, and kept on disk for the other data sets
        head = model.head(zeroshot.prompts.labels(entry.prompts), given.prompts or entry.prompts)
        report = evaluate_among(model, head, data)
        before = evaluate_among(model, head, base) if base else None
    except ZeroshotError as error:
        sys.exit(f"error: {error}")
    print_report(given.name, report, before)


def print_report(name: str, report: Report, before: Report | None) -> None:
    """Print the accuracy, that on ImageNet before, and the difference."""
    top1 = report.figures["top1"]
    print(f"{name}: {report.n} images, {len(report.labels)} labels")
    print(f"  top-1 {percent(top1)}")
    if before is not None:
        print(
            f"  the same classes of ImageNet {percent(before.figures['top1'])}, {before.n} images"
        )
        print(f"  difference {percent(difference(top1, before.figures['top1']), '+')}")
    for note in report.notes:
        print(f"  Note: {note}")
    for each in (report, before):
        if each is not None and each.failures:
            print(
                f"  Images that could not be read, and are not in the figures: {len(each.failures)}"
            )
            for failure in each.failures[:FAILURES]:
                print(f"    {failure.error}")


if __name__ == "__main__":
    main()
