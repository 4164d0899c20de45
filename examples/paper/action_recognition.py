"""Measure zero-shot action recognition on UCF101 or Kinetics-700.

    python -m examples.paper.action_recognition ucf101 FOLDER --model ViT-B/32
    python -m examples.paper.action_recognition kinetics700 FOLDER --frames 8

prints top-1, top-5 and their mean, which the paper reports for Kinetics (table 9), with 95 %
intervals. One frame, the middle one, is the paper's protocol (section A.1). For UCF101, the paper
reports the mean over three test parts: --split test1 test2 test3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import zeroshot
from examples.paper.datasets.video import ROWS, average_frames, clips_of
from zeroshot import Classifier, Report, metrics
from zeroshot.errors import ZeroshotError
from zeroshot.evaluation.figures import Figure
from zeroshot.evaluation.scoring import measure, resolve

FAILURES = 5  # printed


def evaluate_clips(
    classifier: Classifier, model: zeroshot.Model, name: str, folder: Path, split: str, frames: int
) -> Report:
    """Evaluate a classifier on clips, each embedded by the mean of its frames."""
    data = ROWS[name].read(folder, split)
    embeddings = average_frames(model, clips_of(data), frames)
    return measure(classifier, embeddings, resolve(data.truth, data.labels))


def mean_top1_top5(report: Report) -> Figure:
    """Return the mean of top-1 and top-5 accuracy with a bootstrap interval.

    There is no interval if all clips have the same rank, because all resamples are then equal.
    """
    assert report.answers is not None  # each clip has one label
    rank = report.answers.rank
    values = ((rank < 1).astype(np.float64) + (rank < 5)) / 2
    low, high = metrics.bootstrap(lambda weights: metrics.mean(values, weights), len(values))
    mean = float(values.mean())
    return Figure(mean, float(low), float(high)) if low < high else Figure(mean)


def print_report(report: Report, split: str) -> None:
    """Print the figures of one part of a data set, and the clips that failed."""
    figures = {
        "top-1": report.figures["top1"],
        "top-5": report.figures["top5"],
        "mean of top-1 and top-5": mean_top1_top5(report),
    }
    print(f"{split}: {report.n} clips")
    for name, figure in figures.items():
        bounds = (figure.low, figure.high)
        known = [f"{100 * bound:.1f}" for bound in bounds if bound is not None]
        interval = f" ({'-'.join(known)})" if known else ""
        print(f"  {name:24} {100 * figure.value:5.1f} %{interval}")
    for note in report.notes:
        print(f"  Note: {note}")
    if report.failures:
        print(f"  Clips that could not be read, and are not in the figures: {len(report.failures)}")
        for failure in report.failures[:FAILURES]:
            print(f"    {failure.error}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.paper.action_recognition",
        description="Measure zero-shot action recognition on UCF101 or Kinetics-700.",
    )
    parser.add_argument("name", choices=sorted(ROWS))
    parser.add_argument("folder", type=Path, help="folder with the published files")
    parser.add_argument("--model", default="mini", help="name or path of a model")
    parser.add_argument("--frames", type=int, default=1, help="frames per clip (default: 1)")
    parser.add_argument("--split", nargs="+", default=["test"], help="parts to evaluate")
    parser.add_argument("--prompts", help="prompt set or template; default: the paper's")
    given = parser.parse_args(arguments)
    entry = ROWS[given.name]
    try:
        model = zeroshot.load(given.model)
        labels = list(zeroshot.prompts.labels(entry.prompts))
        classifier = model.classifier(labels, given.prompts or entry.prompts)
        reports = [
            evaluate_clips(classifier, model, given.name, given.folder, split, given.frames)
            for split in given.split
        ]
    except ZeroshotError as error:
        sys.exit(f"error: {error}")
    for split, report in zip(given.split, reports, strict=True):
        print_report(report, split)
    if len(reports) > 1:
        mean = np.mean([report.figures["top1"].value for report in reports])
        print(f"mean of top-1 over {len(reports)} parts: {100 * mean:.1f} %")


if __name__ == "__main__":
    main()
