"""Measure zero-shot classification on a data set of the CLIP paper, in the paper's metric.

    python -m examples.paper.zero_shot oxfordpets FOLDER --model ViT-B/32
    python -m examples.paper.zero_shot --list

Classifier: section 3.1.2 and 3.1.4 of Radford et al. 2021 (https://arxiv.org/abs/2103.00020), with
the prompts that OpenAI published. Metrics: table 9.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import zeroshot
from examples.paper import options, published
from examples.paper.datasets.base import Entry
from examples.paper.datasets.table import TABLE
from examples.paper.measures import NAMES, Measured, measure
from zeroshot.evaluation import text
from zeroshot.evaluation.answers import embed_images
from zeroshot.evaluation.report import check_target


def main(arguments: list[str]) -> None:
    """Print the figures of the data set in the arguments, or the list of data sets."""
    parser = options.parser(__doc__)
    options.add_split(parser)
    options.add_prompts(parser)
    parser.add_argument("--report", type=Path, help="write the report to this .html or .json file")
    parser.add_argument("--list", action="store_true", help="print the data sets and exit")
    given = options.parse(parser, arguments)
    if given.list:
        print(listing())
        return
    if given.report is not None:
        check_target(given.report)
    print(describe(given, given.split, run(given)))


def run(given: argparse.Namespace) -> Measured:
    """Measure the model on the images of the arguments, and save the report."""
    entry, data = options.read(given, given.split)
    model = zeroshot.load(given.model)
    templates = zeroshot.prompts.get(given.prompts or entry.prompts)
    classifier = options.classifier(model, entry.prompts, data, templates)
    result = measure(entry.metric, classifier, data, embed_images(model, data.images))
    if given.report is not None:
        result.report.save(given.report)
    return result


def describe(given: argparse.Namespace, split: str, result: Measured) -> str:
    """Return the paper's metric, the published figure and the other figures as text."""
    entry, report = TABLE[given.name], result.report
    lines = [
        f"{given.name}, {split}: {text.title(report)}",
        f"The paper's metric, {NAMES[entry.metric]}: {text.percent(result.figure)}.",
        _published(given, entry),
        *text.accuracy_lines(report),
        *options.remarks(given, report, entry.note if split == "test" else ""),
    ]
    return "\n".join(lines)


def _published(given: argparse.Namespace, entry: Entry) -> str:
    known = published.find(given.name, given.model)
    if known is None:
        return f"No published {NAMES[entry.metric]} of {given.model} is known here."
    return f"Published: {known.percent:.1f} % ({known.source}; {known.differs})."


def listing() -> str:
    """Return the data sets as a Markdown table, with notes; README.md contains it."""
    lines = [
        "| name | metric | files in the folder | license | source |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, entry in TABLE.items():
        lines.append(
            f"| `{name}` | {NAMES[entry.metric]} | `{entry.layout}` | {entry.license} | "
            f"<{entry.url}> |"
        )
    notes = [f"- `{name}`: {entry.note}" for name, entry in TABLE.items() if entry.note]
    return "\n".join([*lines, "", *notes])


if __name__ == "__main__":
    options.run(main)
