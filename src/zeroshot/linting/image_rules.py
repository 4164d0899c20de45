"""Rules that need images with known labels: what a classifier of the labels answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from zeroshot.calibration import binomial_cdf, fit_inverse_temperature
from zeroshot.classifier import Classifier
from zeroshot.embedding import check_length
from zeroshot.errors import InputError, shortened, some
from zeroshot.evaluation import figures
from zeroshot.evaluation.answers import Answers, Embeddings, answer, as_embeddings, embed_images
from zeroshot.evaluation.comparison import TemplateEffect, excludes_zero, template_effects
from zeroshot.evaluation.figures import CONFIDENCE, Figure, LabelFigure
from zeroshot.evaluation.targets import columns, is_multilabel, listed
from zeroshot.evaluation.text import points, short
from zeroshot.linting.entries import LabelSet
from zeroshot.linting.problems import Problem, quoted, unused_images
from zeroshot.model import Model
from zeroshot.progress import Show

SHARE = 3  # times as many answers as images, from which a label is reported
HIGH = 0.9  # probability of the answer from which an image of another label is reported
NONE = -1  # column of images that show none of the labels
FITTED = 2000  # images that the temperature is fitted on
CERTAIN = 0.995  # scores that would be rounded to 1
SHOWN = 10  # templates and files named in a message


@dataclass(frozen=True)
class Checked:
    """Embedded images of the labels, and what the classifier answers for each."""

    classifier: Classifier
    given: Embeddings  # those that can be read and show a label
    answers: Answers

    @property
    def names(self) -> list[str]:
        """Path or URL of each row, or its place."""
        places = self.given.places.tolist()
        return [s or f"images[{p}]" for s, p in zip(self.given.sources, places, strict=True)]


def find_with_images(
    labels: LabelSet, model: Model, images: Any, truth: Any, progress: Show = None
) -> Iterator[Problem]:
    """Find labels, templates and images that a classifier of the labels disagrees with.

    The labels must have no errors. Raises InputError for a truth that is no label, for lists of
    labels, or unless there is one truth per image; ImageError if no image can be read.
    """
    names = {entry.label: entry.names for entry in labels.entries}
    given_truth = _resolve(truth, list(names), images)
    given = as_embeddings(images, model.embed_dim)
    if given is None:
        if isinstance(images, Sequence):
            check_length(len(images), len(given_truth))
        given = embed_images(model, cast("Iterable[Any]", images), progress)
    check_length(given.images, len(given_truth))
    right = given_truth[given.places]
    yield from _find_unused(given, right)
    if not (right != NONE).any():
        return
    classifier = model.classifier(names, labels.prompts, allow_equal=True, progress=progress)
    found = _check(classifier, given, right)
    for rule in RULES:
        yield from rule(found)


def _resolve(truth: Any, labels: Sequence[str], images: object) -> NDArray[np.int64]:
    """Return the column of each truth, NONE for None: int64 [n]. Raises InputError."""
    is_matrix = getattr(truth, "ndim", 1) == 2
    found = [] if is_matrix else listed(truth)
    if is_matrix or is_multilabel(found):
        raise InputError(
            "expected one label or None for each image, got lists of labels or a matrix; lint "
            "images that have one label each"
        )
    return columns(found, labels, none=NONE, images=images)


def _check(classifier: Classifier, given: Embeddings, right: NDArray[np.int64]) -> Checked:
    """Answer the images that show a label, with probabilities fitted to them.

    One temperature is fitted, so that "high probability" means the same for models with different
    scales. Images with wrong labels lower the probabilities, so fewer are reported.
    """
    used = right != NONE
    rows, truth = given.rows[used], right[used]
    sources = tuple(source for source, use in zip(given.sources, used, strict=True) if use)
    given = Embeddings(rows, given.places[used], sources, ())
    step = -(-len(rows) // FITTED)
    logits = classifier.head.logits(rows[::step]).double().cpu().numpy()
    factor = fit_inverse_temperature(logits, truth[::step])
    head = replace(classifier.head, inverse_temperature=factor, scoring="softmax")
    return Checked(classifier, given, answer(head, given, truth))


def _find_unused(given: Embeddings, right: NDArray[np.int64]) -> Iterator[Problem]:
    """Find images that cannot be read or show none of the labels."""
    parts, advice = [], []
    if failed := given.failures:
        names = [shortened(str(each.source), 120) for each in failed if each.source is not None]
        which = f" ({some(names, 3)})" if names else ""
        parts.append(f"{len(failed)} could not be read{which}")
        advice.append("replace files that cannot be read")
    if none := int((right == NONE).sum()):
        parts.append(f"{none} show none of the labels")
        advice.append("zeroshot.evaluate measures a classifier on images of none of the labels")
    if parts:
        yield unused_images(
            f"of {given.images} images, {' and '.join(parts)}; they are not used",
            "; ".join(advice),
        )


def find_frequent(found: Checked) -> Iterator[Problem]:
    """Find labels that are the answer at least 3 times as often as images show them.

    Chance alone must not explain it. Of the images that are in one of the two groups only, the
    answer or the right label, each is in either group with probability 1/2 by chance. The exact
    binomial test (McNemar's) of their numbers must reject this at 5 % divided by the number of
    labels, so that chance alone reports any label in at most 1 of 20 label sets.
    """
    labels, truth = found.classifier.head.labels, found.answers.truth
    for column, each in enumerate(figures.per_label(found.answers, labels)):
        if each.answers >= SHARE * max(each.n, 1) and not _is_chance(each, len(labels)):
            wrong = truth[(found.answers.best == column) & (truth != column)]
            truths, counts = np.unique(wrong, return_counts=True)
            most = [labels[n] for n in truths[np.argsort(-counts, kind="stable")].tolist()]
            yield Problem(
                level="warning",
                kind="frequent",
                labels=(each.label,),
                message=(
                    f"{quoted([each.label])} is the answer for {each.answers} of "
                    f"{len(truth)} images, but only {each.n} show it; most wrong answers are "
                    f"for {quoted(most, 3)}"
                ),
                suggestion=(
                    "describe it more exactly, or give the other labels names that fit their "
                    "images better"
                ),
            )


def _is_chance(label: LabelFigure, labels: int) -> bool:
    """Return whether a sign test accepts that a label gains and loses images equally often."""
    gained, lost = label.answers - label.right, label.n - label.right
    return binomial_cdf(lost, gained + lost, 0.5) > (1 - CONFIDENCE) / labels


def find_template_effects(found: Checked) -> Iterator[Problem]:
    """Find templates whose removal changes top-1 beyond the paired interval."""
    if len(found.classifier.head.templates) < 2:
        return
    effects = template_effects(found.classifier, found.given, found.answers.truth)
    outside = [
        (each, each.without)
        for each in effects
        if each.without is not None and excludes_zero(each.without)
    ]
    if not outside:
        return
    outside.sort(key=lambda pair: -abs(pair[1].value))
    lines = [_effect_line(*pair) for pair in outside[:SHOWN]]
    more = [f"(the first {SHOWN})"] if len(outside) > SHOWN else []
    chance = (1 - CONFIDENCE) * len(effects)
    yield Problem(
        level="note",
        kind="template effect",
        labels=(),
        message="\n".join(
            [
                f"leaving out one template changes top-1 beyond its 95 % interval for "
                f"{len(outside)} of {len(effects)} templates; chance alone gives up to "
                f"{chance:.2g}",
                *lines,
                *more,
            ]
        ),
        suggestion=(
            "measure on other images before you change the prompts; templates chosen on these "
            "images may be worse on others"
        ),
    )


def _effect_line(effect: TemplateEffect, change: Figure) -> str:
    return f"without {shortened(repr(effect.template), 60)}: {points(change)} percentage points"


def find_disagreement(found: Checked) -> Iterator[Problem]:
    """Find images whose answer is another label with high probability, the surest first."""
    answers, labels = found.answers, found.classifier.head.labels
    wrong = np.flatnonzero(~answers.right & (answers.confidence >= HIGH))
    names = found.names
    for row in wrong[np.argsort(-answers.confidence[wrong], kind="stable")].tolist():
        own, best = labels[answers.truth[row]], labels[answers.best[row]]
        yield Problem(
            level="note",
            kind="disagreement",
            labels=(own, best),
            message=(
                f"{shortened(names[row], 200)}: the label is {quoted([own])}, the answer "
                f"{quoted([best])} with score {_score(float(answers.confidence[row]))}"
            ),
            suggestion=(
                "look at the image: it may be mislabeled, show both, or be a mistake of the model"
            ),
            image=names[row],
        )


def _score(value: float) -> str:
    """Format a score; no score is certain."""
    return ">.99" if value >= CERTAIN else short(value)


RULES: tuple[Callable[[Checked], Iterator[Problem]], ...] = (
    find_frequent,
    find_template_effects,
    find_disagreement,
)
