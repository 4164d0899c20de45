"""Measure zero-shot accuracy on other images of ImageNet's classes, as in the paper's figure 13.

    python -m examples.paper.robustness imagenet-r FOLDER --model ViT-B/32
    python -m examples.paper.robustness objectnet FOLDER --imagenet IMAGENET

prints the accuracy with a 95 % interval. With --imagenet, also the accuracy on ImageNet's
validation images of the same classes, among the same labels, and the difference.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import zeroshot
from examples.paper import options
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.table import ROBUSTNESS, load
from examples.paper.samples import sample
from zeroshot import Classifier, Head, Model, Report
from zeroshot.errors import InputError
from zeroshot.evaluation import text
from zeroshot.evaluation.figures import Figure

DRAWS = 10  # resamples; only top-1 is printed, and its interval needs none


def main(arguments: list[str]) -> None:
    """Print the accuracy on the data set of the arguments, and that on ImageNet."""
    parser = options.data_parser(__doc__)
    parser.add_argument("--imagenet", type=Path, help="folder with ImageNet's validation images")
    options.add_prompts(parser)
    given = parser.parse_args(arguments)
    data = load(given.name, given.folder, table=ROBUSTNESS)
    base = same_classes(given.imagenet, data) if given.imagenet else None
    model = zeroshot.load(given.model)
    prompts = ROBUSTNESS[given.name].prompts
    # all labels are embedded, and kept on disk for the other data sets
    head = model.head(zeroshot.prompts.labels(prompts), given.prompts or prompts)
    report = evaluate_among(model, head, sample(data, given.limit))
    before = evaluate_among(model, head, sample(base, given.limit)) if base else None
    print(describe(given, report, before))


def evaluate_among(model: Model, head: Head, data: DataSet) -> Report:
    """Evaluate a head of all ImageNet labels among the labels of a data set only.

    An image whose truth is a list of columns is right if the answer is one of them.
    """
    classifier = Classifier(model, head.select(data.labels))
    return zeroshot.evaluate(classifier, data.images, data.named, draws=DRAWS)


def same_classes(folder: Path, data: DataSet) -> DataSet:
    """Return ImageNet's validation images of the classes of a data set, judged the same way.

    If the data set counts several classes as one, such as the two clocks of ObjectNet, an image of
    either is right with each of them.
    """
    groups = {
        column: list(truth) for truth in data.truth if isinstance(truth, list) for column in truth
    }
    imagenet = load("imagenet", folder)
    columns = {imagenet.labels.index(label): column for column, label in enumerate(data.labels)}
    chosen = [
        (image, columns[right])
        for image, right in zip(imagenet.images, imagenet.truth, strict=True)
        if right in columns
    ]
    if not chosen:
        raise InputError(
            f"{folder}: expected images of the {len(data.labels)} classes, got other ones; extract "
            "all validation images of ImageNet there"
        )
    truth: list[Any] = [column for _, column in chosen]
    if groups:
        truth = [groups.get(column, [column]) for column in truth]
    return DataSet([image for image, _ in chosen], truth, data.labels)


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


def describe(given: argparse.Namespace, report: Report, before: Report | None) -> str:
    """Return the accuracy, that on ImageNet before, and the difference as text."""
    top1 = report.figures["top1"]
    lines = [f"{given.name}: {text.title(report)}", f"Top-1 {text.percent(top1)}."]
    if before is not None:
        base = before.figures["top1"]
        change = text.points(difference(top1, base))
        lines += [
            f"The same classes of ImageNet, {before.n} images: {text.percent(base)}.",
            f"Difference in percentage points: {change}.",
        ]
    lines += options.remarks(given, report)
    if before is not None and (others := options.remarks(given, before)[1:]):
        lines += ["ImageNet:", *others]
    return "\n".join(lines)


if __name__ == "__main__":
    options.run(main)
