"""Compare class names alone, one template and the ensemble of templates on a data set.

    python -m examples.paper.prompt_ensembling imagenet FOLDER --model ViT-B/32

Section 3.1.4 and figure 4 of Radford et al. 2021 (https://arxiv.org/abs/2103.00020). All three are
measured on the same images, so the intervals of the differences are paired.
"""

from __future__ import annotations

import argparse

import zeroshot
from examples.paper import options
from zeroshot.errors import InputError
from zeroshot.evaluation import text
from zeroshot.evaluation.answers import embed_images
from zeroshot.evaluation.measuring import measure
from zeroshot.evaluation.targets import resolve

ALONE, ONE = "{}", "a photo of a {}."


def main(arguments: list[str]) -> None:
    """Print the accuracy with each kind of prompt, and the differences."""
    parser = options.data_parser(__doc__)
    options.add_split(parser)
    given = parser.parse_args(arguments)
    entry, data = options.read(given, given.split)
    if any(isinstance(each, list) for each in data.truth):
        raise InputError(
            f"expected a data set with one label per image, got {given.name}; choose another one"
        )
    model = zeroshot.load(given.model)
    embeddings = embed_images(model, data.images)
    reports: list[zeroshot.Report] = []
    for templates in (ALONE, ONE, None):
        # the ensemble of the set includes the synonyms of its labels
        made = options.classifier(model, entry, data, templates, synonyms=templates is None)
        right = resolve(data.named, made.head)
        reports.append(measure(made, embeddings, right, images=data.images))
    print(describe(given, reports))


def describe(given: argparse.Namespace, reports: list[zeroshot.Report]) -> str:
    """Return the accuracies and the paired differences as text."""
    alone, one, ensemble = reports
    count = ensemble.template_count
    kinds = [
        ("class name alone", alone),
        (f'"{ONE}"', one),
        (f"{count} template{'s' if count != 1 else ''} of the set", ensemble),
    ]
    width = max(len(kind) for kind, _ in kinds)
    size = f"{alone.n} images, {len(alone.labels)} labels"
    lines = [f"{given.name}, {given.split}: {size}, {alone.model}"]
    lines += [f"{kind:<{width}}  top-1 {text.percent(r.figures['top1'])}" for kind, r in kinds]
    lines += ["", "Differences on the same images, in percentage points"]
    for title, later, earlier in (
        ("template - name alone", one, alone),
        ("ensemble - template", ensemble, one),
        ("ensemble - name alone", ensemble, alone),
    ):
        difference = later.compare(earlier, name=title)
        verdict = "" if difference.is_outside else "; the interval contains 0: none shown"
        lines.append(f"{title:<{width}}  {text.points(difference.change)}{verdict}")
    return "\n".join([*lines, *options.remarks(given, ensemble)])


if __name__ == "__main__":
    options.run(main)
