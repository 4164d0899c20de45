"""Compare zero-shot classification with linear probes on a few images for each label.

    python -m examples.paper.few_shot oxfordpets FOLDER --model ViT-B/32

Source: Radford et al. 2021 (https://arxiv.org/abs/2103.00020), section 3.1.5 and figure 6: probes
on 1, 2, 4, 8 and 16 images for each label. `Classifier.with_examples`, which mixes the same images
with the texts, is not in the paper. All are measured on the same test images.

The paper does not state how C is chosen for so few images. Here a part of them is held out, as in
`linear_probe`. From one image for each label nothing can be held out; C is then 0.316, the value in
the example of https://github.com/openai/CLIP#linear-probe-evaluation.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import zeroshot
from examples.paper import options
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.table import TABLE
from examples.paper.linear_probe import Integers, choose, fit, interval, one_label, parser, read
from zeroshot import Classifier, Model, metrics
from zeroshot.arguments import count
from zeroshot.errors import InputError
from zeroshot.metrics import Floats
from zeroshot.mixing import TEXT_WEIGHT
from zeroshot.scoring import with_examples

SHOTS = (1, 2, 4, 8, 16)  # images for each label; figure 6
DRAWS = 3  # random choices of the images, whose accuracies are averaged
ONE_IMAGE_C = 0.316


@dataclass(frozen=True)
class Line:
    """The answers of classifiers that were given `shots` images for each label.

    Attributes:
        shots: Number of images.
        probe: Share of the draws in which the linear probe is right, for each test image: [n].
        mixed: The same for `Classifier.with_examples`.
    """

    shots: int
    probe: Floats
    mixed: Floats


@dataclass(frozen=True)
class Comparison:
    """Zero-shot and few-shot classifiers on the same test images.

    Attributes:
        zero_shot: Whether each test image is classified correctly from texts alone: bool [n].
        lines: One for each number of images that all labels have.
        fewest: Number of training images of the label with the fewest.
    """

    zero_shot: NDArray[np.bool_]
    lines: tuple[Line, ...]
    fewest: int


@dataclass(frozen=True)
class Embedded:
    """Images as linear probes and as heads use them.

    Attributes:
        features: Before the projection: float32 [n, w].
        embeddings: After it, of unit length: float32 [n, d].
        truth: Column of the right label: int64 [n].
    """

    features: Tensor
    embeddings: Tensor
    truth: Integers

    def take(self, rows: Integers) -> Embedded:
        """Return some of the images."""
        where = torch.from_numpy(rows).to(self.features.device)
        return Embedded(self.features[where], self.embeddings[where], self.truth[rows])


def embed(model: Model, data: DataSet, positions: Integers) -> Embedded:
    """Embed the images at these positions, with and without the projection."""
    features, embeddings = (
        model.encode_image((data.images[n] for n in positions.tolist()), project=project)
        for project in (False, True)
    )
    return Embedded(features, embeddings, one_label(data)[positions])


def draw(truth: Integers, shots: int, seed: int) -> Integers:
    """Choose `shots` images of each label: their positions, int64 [shots * labels].

    With the same seed, a choice of more images contains the choice of fewer.
    """
    random = np.random.default_rng(seed)
    parts = [random.permutation(np.flatnonzero(truth == label)) for label in np.unique(truth)]
    return np.sort(np.concatenate([part[:shots] for part in parts]))


def few_shot(
    model: Model,
    classifier: Classifier,
    train: DataSet,
    test: DataSet,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compare a zero-shot classifier with linear probes and with mixed heads.

    Args:
        model: The model of the classifier.
        classifier: The zero-shot classifier; its labels are those of the data.
        train: Images to choose from; only chosen ones are read.
        test: Images that all classifiers are measured on.
        shots: Numbers of images for each label; larger ones than a label has are left out.
        draws: Number of random choices.
        seed: Seed of the first choice.

    Raises:
        InputError: Images have several labels, or a label has no training image.
        ImageError: An image cannot be read.
    """
    draws, truth, labels = count("draws", draws, 1), one_label(train), classifier.head.labels
    if not train.labels == test.labels == labels:
        raise InputError("expected images of the classifier's labels, in their order, got others")
    fewest = int(np.bincount(truth, minlength=len(labels)).min())
    used = sorted(number for number in shots if number <= fewest)
    if not used:
        raise InputError(
            f"expected at least {min(shots)} training images of every label, got {fewest} of one; "
            "use more images"
        )
    needed = np.unique(np.concatenate([draw(truth, used[-1], seed + n) for n in range(draws)]))
    known = embed(model, train, needed)
    seen = embed(model, test, np.arange(len(test.images)))
    lines = []
    for number in used:
        choices = [
            known.take(np.searchsorted(needed, draw(truth, number, seed + n))) for n in range(draws)
        ]
        probe = np.mean([_with_probe(few, seen, len(labels), seed) for few in choices], axis=0)
        mixed = np.mean([_with_texts(classifier, few, seen) for few in choices], axis=0)
        lines.append(Line(number, probe, mixed))
    return Comparison(_is_right(classifier.head, seen), tuple(lines), fewest)


def _with_probe(few: Embedded, test: Embedded, labels: int, seed: int) -> NDArray[np.bool_]:
    """Return where a linear probe on a few images is right: bool [n]."""
    c = ONE_IMAGE_C
    if len(few.truth) > len(np.unique(few.truth)):
        c, _ = choose(few.features, few.truth, labels, seed=seed)
    return fit(few.features, few.truth, labels, c).is_right(test.features, test.truth)


def _with_texts(classifier: Classifier, few: Embedded, test: Embedded) -> NDArray[np.bool_]:
    """Return where texts mixed with a few images, as by `with_examples`, are right: bool [n]."""
    head = with_examples(classifier.head, few.embeddings.cpu(), few.truth, TEXT_WEIGHT)
    return _is_right(head, test)


def _is_right(head: zeroshot.Head, test: Embedded) -> NDArray[np.bool_]:
    best = head.logits(test.embeddings)[:, : len(head)].argmax(dim=1)
    return np.asarray(best.cpu().numpy() == test.truth)


def describe(found: Comparison) -> str:
    """Return the accuracies with their intervals as a table."""
    lines = [
        f"zero-shot accuracy {interval(found.zero_shot)}",
        "",
        f"{'images':>6}  {'linear probe':22}{'minus zero-shot':26}with_examples",
    ]
    for line in found.lines:
        gain = line.probe - found.zero_shot
        lines.append(
            f"{line.shots:6}  {_mean(line.probe):22}{_mean(gain, sign='+'):26}{_mean(line.mixed)}"
        )
    lines += ["", "Intervals: 95%, over the test images, not over the choice of the few images."]
    missing = [number for number in SHOTS if number > found.fewest]
    if missing:
        lines.append(f"A label has {found.fewest} training images, so {missing} are left out.")
    return "\n".join(lines)


def _mean(values: Floats, *, sign: str = "") -> str:
    """Return a mean in percent with its bootstrap interval over the images."""
    interval = metrics.bootstrap(lambda weights: metrics.mean(values, weights), len(values))
    mean, low, high = (100 * float(value) for value in (values.mean(), *interval))
    return f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def run_on(given: argparse.Namespace) -> str:
    """Compare on the data set of the arguments; return the table."""
    train, test = read(given)
    model = zeroshot.load(given.model, device=given.device)
    name = TABLE[given.name].prompts
    zero_shot = options.classifier(model, name, test, name)
    found = few_shot(model, zero_shot, train, test, draws=given.draws, seed=given.seed)
    return f"{given.name}, {model.name}, {len(test.labels)} labels\n{describe(found)}"


def main(arguments: list[str]) -> None:
    """Print a table for the data set in the arguments."""
    given = parser(__doc__)
    given.add_argument("--draws", type=int, default=DRAWS, help="choices of the images to average")
    print(run_on(options.parse(given, arguments)))


if __name__ == "__main__":
    options.run(main)
