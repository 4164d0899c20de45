"""Measure zero-shot action recognition on UCF101 or Kinetics-700.

    python -m examples.paper.action_recognition kinetics700 FOLDER --frames 8
    python -m examples.paper.action_recognition ucf101 FOLDER --split test1 test2 test3

A clip is embedded by the mean of evenly spaced frames; one frame, the middle one, is what the paper
does (section A.1). For several parts, such as the three of UCF101, also their mean is printed.
"""

from __future__ import annotations

import numpy as np

import zeroshot
from examples.paper import options
from examples.paper.datasets.video import average_frames, clips_of
from examples.paper.measures import NAMES, measure
from examples.paper.zero_shot import describe


def main(arguments: list[str]) -> None:
    """Print the figures of each part of the data set in the arguments, and their mean."""
    parser = options.parser(__doc__)
    parser.add_argument("--frames", type=int, default=1, help="frames per clip (default: 1)")
    parser.add_argument("--split", nargs="+", default=["test"], help="parts (default: test)")
    options.add_prompts(parser)
    given = options.parse(parser, arguments)
    parts = [options.read(given, split) for split in given.split]
    clips = [clips_of(data) for _, data in parts]
    model = zeroshot.load(given.model)
    values = []
    for split, (entry, data), each in zip(given.split, parts, clips, strict=True):
        templates = zeroshot.prompts.get(given.prompts or entry.prompts)
        classifier = options.classifier(model, entry.prompts, data, templates)
        embeddings = average_frames(model, each, given.frames)
        result = measure(entry.metric, classifier, data, embeddings)
        print(describe(given, split, result))
        values.append(result.figure.value)
    if len(values) > 1:
        mean = 100 * np.mean(values)
        print(f"Mean over {len(values)} parts, {NAMES[parts[0][0].metric]}: {mean:.1f} %.")


if __name__ == "__main__":
    options.run(main)
