"""Rules that need images with known labels: what a classifier of the labels answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from zeroshot.calibration import binomial_cdf, fit_inverse_temperature
from zeroshot.classifier import Classifier
from zeroshot.errors import InputError, shortened, some
from zeroshot.evaluation import figures
from zeroshot.evaluation.answers import Answers, Embeddings, answer, as_embeddings, embed_images
from zeroshot.evaluation.comparison import TemplateEffect, excludes_zero, template_effects
from zeroshot.evaluation.figures import LIKELY, Figure, LabelFigure
from zeroshot.evaluation.scoring import check_length
from zeroshot.evaluation.targets import Columns, is_multilabel, listed
from zeroshot.linting.entries import LabelSet
from zeroshot.linting.problems import Problem, quoted
from zeroshot.model import Model
from zeroshot.progress import Show

SHARE = 3  # times as many answers as images, from which a label is reported
# Probability of the answer from which an image of another label is reported. Measured on simulated
# images of 10, 20 and 100 labels, 5 % of them mislabeled: 93, 98 and 93 % of those reported are
# mislabeled, and 67, 55 and 43 % of the mislabeled ones are reported. Without mislabeled images,
# about 1 % of all are reported.
HIGH = 0.9
FITTED = 2000  # images that the temperature is fitted on
SHOWN = 10  # templates and files named in a message


@dataclass(frozen=True)
class Checked:
    """Embedded images of the labels, and the column of the right label of each."""

    classifier: Classifier
    given: Embeddings  # those that can be read and show a label
    truth: NDArray[np.int64]  # of each row
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
    given_truth = _resolve(truth, list(names))
    given = as_embeddings(images, model.embed_dim)
    if given is None:
        if isinstance(images, Sequence):
            check_length(len(images), len(given_truth))
        given = embed_images(model, cast("Iterable[Any]", images), progress)
    check_length(given.images, len(given_truth))
    right = given_truth[given.places]
    yield from _find_unused(given, right)
    if not (right >= 0).any():
        return
    classifier = model.classifier(names, labels.prompts, allow_equal=True, progress=progress)
    found = _check(classifier, given, right)
    yield from find_frequent(found)
    yield from find_template_effects(found)
    yield from find_disagreement(found)


def _resolve(truth: Any, labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the column of each truth, -1 for None: int64 [n]. Raises InputError."""
    is_matrix = getattr(truth, "ndim", 1) == 2
    found = [] if is_matrix else listed(truth)
    if is_matrix or is_multilabel(found):
        raise InputError(
            "expected one label or None for each image, got lists of labels or a matrix; lint "
            "images that have one label each"
        )
    columns = Columns(labels)
    places = enumerate(found)
    return np.asarray(
        [-1 if t is None else columns.find(t, f"truth[{n}]") for n, t in places], np.int64
    )


def _check(classifier: Classifier, given: Embeddings, right: NDArray[np.int64]) -> Checked:
    """Answer the images that show a label, with probabilities fitted to them.

    One temperature is fitted, so that "high probability" means the same for models with different
    scales. Images with wrong labels lower the probabilities, so fewer are reported.
    """
    used = right >= 0
    rows, truth = given.rows[used], right[used]
    sources = tuple(source for source, use in zip(given.sources, used, strict=True) if use)
    given = Embeddings(rows, given.places[used], sources, ())
    step = -(-len(rows) // FITTED)
    logits = classifier.head.logits(rows[::step]).double().cpu().numpy()
    factor = fit_inverse_temperature(logits, truth[::step])
    head = replace(classifier.head, inverse_temperature=factor, scoring="softmax")
    return Checked(classifier, given, truth, answer(head, given, truth))


def _find_unused(given: Embeddings, right: NDArray[np.int64]) -> Iterator[Problem]:
    """Find images that cannot be read or show none of the labels."""
    parts = []
    if failed := given.failures:
        names = [shortened(str(each.source), 120) for each in failed if each.source is not None]
        which = f" ({some(names, 3)})" if names else ""
        parts.append(f"{len(failed)} could not be read{which}")
    if none := int((right < 0).sum()):
        parts.append(f"{none} show none of the labels")
    if parts:
        yield Problem(
            *("note", "unused images", ()),
            f"of {given.images} images, {' and '.join(parts)}; no rule looks at them",
            "replace files that cannot be read; zeroshot.evaluate measures images of none of the "
            "labels",
        )


def find_frequent(found: Checked) -> Iterator[Problem]:
    """Find labels that are the answer at least 3 times as often as images show them.

    Chance alone must not explain it. Of the images that are in one of the two groups only, the
    answer or the right label, each is in either group with probability 1/2 by chance. The exact
    binomial test (McNemar's) of their numbers must reject this at 5 % divided by the number of
    labels, so that chance alone reports any label in at most 1 of 20 label sets. A label that no
    image shows needs 8 answers among 10 labels, and 15 among 1000.
    """
    labels = found.classifier.head.labels
    for column, each in enumerate(figures.per_label(found.answers, labels)):
        if each.answers >= SHARE * max(each.n, 1) and not _is_chance(each, len(labels)):
            wrong = found.truth[(found.answers.best == column) & (found.truth != column)]
            truths, counts = np.unique(wrong, return_counts=True)
            most = [labels[n] for n in truths[np.argsort(-counts, kind="stable")].tolist()]
            yield Problem(
                *("warning", "frequent", (each.label,)),
                f"{quoted([each.label])} is the answer for {each.answers} of {len(found.truth)} "
                f"images, but only {each.n} show it; most wrong answers are for {quoted(most, 3)}",
                "describe it more exactly, or give the other labels names that fit their images "
                "better",
            )


def _is_chance(label: LabelFigure, labels: int) -> bool:
    """Return whether a sign test accepts that a label gains and loses images equally often."""
    gained, lost = label.answers - label.right, label.n - label.right
    return binomial_cdf(lost, gained + lost, 0.5) > (1 - LIKELY) / labels


def find_template_effects(found: Checked) -> Iterator[Problem]:
    """Find templates whose removal changes top-1 beyond the paired interval."""
    if len(found.classifier.head.templates) < 2:
        return
    effects = template_effects(found.classifier, found.given, found.truth)
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
    chance = (1 - LIKELY) * len(effects)
    yield Problem(
        *("note", "template effect", ()),
        "\n".join(
            [
                f"leaving out one template changes top-1 beyond its 95 % interval for "
                f"{len(outside)} of {len(effects)} templates; chance alone gives up to "
                f"{chance:.2g}",
                *lines,
                *more,
            ]
        ),
        "measure on other images before you change the prompts; templates chosen on these images "
        "may be worse on others",
    )


def _effect_line(effect: TemplateEffect, change: Figure) -> str:
    assert change.low is not None
    assert change.high is not None
    low, high = 100 * change.low, 100 * change.high
    return (
        f"without {shortened(repr(effect.template), 60)}: {100 * change.value:+.1f} percentage "
        f"points ({low:+.1f} to {high:+.1f})"
    )


def find_disagreement(found: Checked) -> Iterator[Problem]:
    """Find images whose answer is another label with high probability, the surest first."""
    answers, labels = found.answers, found.classifier.head.labels
    wrong = np.flatnonzero(~answers.right & (answers.confidence >= HIGH))
    names = found.names
    for row in wrong[np.argsort(-answers.confidence[wrong], kind="stable")].tolist():
        own, best = labels[answers.truth[row]], labels[answers.best[row]]
        yield Problem(
            *("note", "disagreement", (own, best)),
            f"{shortened(names[row], 200)}: the label is {quoted([own])}, the answer "
            f"{quoted([best])} with probability {answers.confidence[row]:.2f}",
            "look at the image: it may be mislabeled, show both, or be a mistake of the model",
            image=names[row],
        )
