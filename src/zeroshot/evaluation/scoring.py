"""`evaluate()`: measure a classifier on images with known labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from zeroshot import metrics, windows
from zeroshot.arguments import count, iterator
from zeroshot.catalog import EMBEDDED
from zeroshot.classifier import Classifier
from zeroshot.errors import InputError, short_errors, shortened
from zeroshot.evaluation import confusions, figures, published, targets
from zeroshot.evaluation.answers import (
    Embeddings,
    answer,
    as_embeddings,
    can_be_silent,
    embed_images,
    probabilities,
)
from zeroshot.evaluation.report import Report
from zeroshot.head import Head
from zeroshot.images import ImageLike
from zeroshot.progress import Show
from zeroshot.vocabulary import NONE

if TYPE_CHECKING:
    from torch import Tensor

FEW = 50  # images; below, the intervals are wide
FEW_PER_LABEL = 5  # images per label; below, the interval of the mean per label is too narrow


@short_errors
def evaluate(
    classifier: Classifier,
    images: Iterable[ImageLike] | NDArray[np.float32] | Tensor,
    truth: Sequence[Any] | NDArray[Any],
    *,
    draws: int = metrics.DRAWS,
    seed: int = 0,
    progress: bool | None = None,
) -> Report:
    """Measure a classifier on images with known labels.

    Args:
        classifier: A classifier, as `Model.classifier` builds it.
        images: An iterable of images, or their embeddings of unit length: float32 [n, d]. Images
            that cannot be read are listed in the report and not in its figures.
        truth: The right label of each image: a label, the number of its column, a WordNet id if
            the labels are those of "imagenet", or None for none of the labels. Or a list of labels
            for each image, or a matrix [n, L] of 0 and 1, if images have several labels or none.
        draws: Number of resamples of the bootstrap intervals.
        seed: Seed of the resamples.
        progress: Show a progress bar. None shows one on a terminal or in a notebook if the work
            takes longer than two seconds.

    Returns:
        A report with accuracy, calibration, confusions and intervals. Its `notes` say what limits
        the figures.

    Raises:
        InputError: A truth is no label, or there is not one truth per image.
        ImageError: No image can be read.

    Example:
        >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
        >>> report = zeroshot.evaluate(classifier, ["cat.jpg", "cat.jpg"], ["cat", "dog"])
        >>> report.figures["top1"].value
        0.5
    """
    _check_classifier(classifier)
    draws, seed = count("draws", draws, 1), count("seed", seed, 0)
    right = resolve(truth, classifier.head)
    given = as_embeddings(images, classifier.head.weight.shape[1])
    if given is None:
        given = _embed(classifier, cast("Iterable[ImageLike]", images), len(right), progress)
    kept = images if isinstance(images, Sequence) else None
    return measure(classifier, given, right, images=kept, draws=draws, seed=seed)


def measure(
    classifier: Classifier,
    given: Embeddings,
    right: NDArray[Any],
    *,
    images: Sequence[ImageLike] | None = None,
    draws: int = metrics.DRAWS,
    seed: int = 0,
) -> Report:
    """Measure a classifier on embeddings; `right` is the result of `resolve`.

    `images` are kept for thumbnails. Raises InputError if there is not one truth per image.
    """
    check_length(given.images, len(right))
    if right.ndim == 2:
        return _several_labels(classifier, given, right[given.places], draws, seed)
    return _one_label(classifier, given, right[given.places], images, draws, seed)


def _check_classifier(classifier: object) -> None:
    if not isinstance(classifier, Classifier):
        raise InputError(
            f"expected a Classifier, got {type(classifier).__name__} "
            f"{shortened(repr(classifier))}; use model.classifier(labels)"
        )


def resolve(truth: Any, head: Head) -> NDArray[Any]:
    """Return the column of each image's label: int64 [n], or its labels: bool [n, L].

    The column after the labels means none of them. Raises InputError for a truth that is no label.
    """
    iterator("truth", truth)
    targets.check_matrix(truth, len(head))
    listed = targets.listed(truth)
    if targets.is_multilabel(listed):
        if head.classes != head.labels:
            raise InputError(
                "expected one label or None for each image of a classifier with none_of_these, got "
                "lists of labels; make the classifier with scores='independent'"
            )
        found = targets.memberships(listed, head.labels)
        if not found.any():
            raise InputError(
                f"expected a label for at least one image, got {len(found)} empty lists; pass the "
                "labels of each image"
            )
        return found
    return targets.columns(listed, head.classes)


def named(truth: Any, head: Head) -> list[Any]:
    """Return the label of each image, or None, or a list of labels, as `calibrate` expects them.

    Raises InputError for a truth that is no label.
    """
    found = resolve(truth, head)
    if found.ndim == 2:
        return [[head.labels[column] for column in np.flatnonzero(row)] for row in found]
    return [(*head.labels, None)[column] for column in found.tolist()]


def _embed(
    classifier: Classifier, images: Iterable[ImageLike], truths: int, progress: Show
) -> Embeddings:
    """Embed images; a wrong number of them is found before the work if it is known."""
    if isinstance(images, Sequence):
        check_length(len(images), truths)
    encoder = windows.encoder_for(classifier.encoder, classifier.head.scoring)
    return embed_images(encoder, images, progress)


def check_length(images: int, truths: int) -> None:
    """Raise InputError if there is not one truth per image."""
    if images != truths:
        raise InputError(
            f"expected one truth per image, got {images} images but {truths} truths; pass lists "
            "of equal length"
        )


def _one_label(
    classifier: Classifier,
    given: Embeddings,
    truth: NDArray[np.int64],
    images: Sequence[ImageLike] | None,
    draws: int,
    seed: int,
) -> Report:
    head, when = classifier.head, classifier.answers
    silent = can_be_silent(head, when)
    labels = (*head.labels, NONE) if silent else head.labels
    answers = answer(head, given, truth, when)
    is_softmax = head.scoring == "softmax"
    found = figures.single_label(
        answers, len(head), is_softmax=is_softmax, silent=silent, draws=draws, seed=seed
    )
    return Report(
        **_facts(classifier, given),
        labels=labels,
        figures=found,
        per_label=figures.per_label(answers, labels),
        confusions=confusions.worst(answers, labels),
        floor=metrics.calibration_floor(answers.confidence, seed=seed),
        bins=figures.reliability(answers),
        published=published.find(head, classifier.encoder, len(truth)),
        notes=_notes(head, given, np.bincount(truth, minlength=len(head))[: len(head)]),
        answers=answers,
        images=images,
        places=given.places,
    )


def _several_labels(
    classifier: Classifier, given: Embeddings, truth: NDArray[np.bool_], draws: int, seed: int
) -> Report:
    head = classifier.head
    scores = probabilities(head, given)
    if not truth.any():
        raise InputError(
            "expected a label for at least one readable image, got none; check the images"
        )
    return Report(
        **_facts(classifier, given),
        labels=head.labels,
        figures=figures.multi_label(scores, truth, draws=draws, seed=seed),
        per_label=figures.precisions(scores, truth, head.labels),
        confusions=(),
        floor=None,
        bins=(),
        published=None,
        notes=_notes(head, given, truth.sum(axis=0)),
    )


def _facts(classifier: Classifier, given: Embeddings) -> dict[str, Any]:
    head, encoder = classifier.head, classifier.encoder
    name = head.source or getattr(encoder, "source", None) or getattr(encoder, "name", None)
    return {
        "model": name,
        "prompts": head.prompts,
        "template_count": len(head.templates),
        "n": len(given.places),
        "failures": given.failures,
        "sources": given.sources,
    }


def _notes(head: Head, given: Embeddings, counts: NDArray[np.int64]) -> tuple[str, ...]:
    """Say what limits the figures; `counts` is the number of images of each label."""
    notes = []
    n = len(given.places)
    if n < FEW:
        notes.append(f"{n} images are few; the intervals are wide.")
    if counts.sum() < FEW_PER_LABEL * (counts > 0).sum():
        notes.append(
            f"Labels have fewer than {FEW_PER_LABEL} images on average; intervals of means over "
            "labels are too narrow."
        )
    if absent := int((counts == 0).sum()):
        notes.append(f"{absent} of {len(head)} labels have no image; no figure covers them.")
    if repeated := sum(times - 1 for times in Counter(filter(None, given.sources)).values()):
        notes.append(f"{repeated} of the images repeat earlier ones; the intervals are too narrow.")
    if head.calibration is None:
        notes.append(
            "The scores are not calibrated: each is a share of the score among the labels offered."
            if head.scoring == "softmax"
            else "The scores are not calibrated, and those of an image do not sum to 1."
        )
    if head.source == EMBEDDED:
        notes.append("mini is a demo model; its figures say nothing about CLIP.")
    return tuple(notes)
