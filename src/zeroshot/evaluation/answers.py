"""Embed images, and keep what the figures need of the scores of each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.answering import Answering
from zeroshot.arguments import in_order
from zeroshot.embedding import ImageEncoder, check_many, embed
from zeroshot.errors import InputError, image_error, shortened
from zeroshot.head import Head
from zeroshot.images import ImageLike
from zeroshot.metrics import Floats
from zeroshot.predictions import Failure
from zeroshot.progress import Show
from zeroshot.scoring import rank
from zeroshot.tensor_arguments import to_embeddings
from zeroshot.vocabulary import NONE

ROWS = 1024  # images scored at once; 8 MB of float64 at 1000 labels
NO_ANSWER = "no answer"  # name of the column after the labels, of a classifier without words
KEPT = 16  # values of an embedding in a report
UNIT = 0.02  # allowed deviation of an embedding's length from 1; float16 files deviate by 0.001


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of images, and which images have none because they cannot be read."""

    rows: Tensor  # float32 [m, d], unit length
    places: NDArray[np.int64]  # position of each row among the images, [m]
    sources: tuple[str | None, ...]  # path, URL or key of each row
    failures: tuple[Failure, ...]

    @property
    def fingerprint(self) -> NDArray[np.float32]:
        """The first values of each row, which tell images apart: float32 [m, at most 16]."""
        return np.asarray(self.rows[:, :KEPT].numpy(), np.float32).copy()

    @property
    def images(self) -> int:
        """Number of images, including those that cannot be read."""
        return len(self.places) + len(self.failures)


@dataclass(frozen=True)
class Answers:
    """The answer for each image, where each image has one right label; arrays are [n].

    Columns are those of the labels, then one for no answer if the classifier can give none. That
    column has no probability in a head without background words: `own` is 0 there.
    """

    truth: NDArray[np.int64]  # column of the right label
    best: NDArray[np.int64]  # column of the answer
    rank: NDArray[np.int64]  # number of columns that are better than the right one
    confidence: Floats  # probability of the best label, even if it is not the answer
    is_best_right: NDArray[np.bool_]  # whether that label is right
    own: Floats  # probability of the right column
    squares: Floats  # sum of the squared probabilities

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the answer is right."""
        return np.asarray(self.rank == 0)


def embed_images(
    encoder: ImageEncoder, images: Iterable[ImageLike], progress: Show = None
) -> Embeddings:
    """Embed images; those that cannot be read are in `failures`. Raises ImageError if all are."""
    parts: list[Tensor] = []
    places: list[int] = []
    sources: list[str | None] = []
    failures: list[Failure] = []
    position = 0
    for batch in embed(encoder, images, on_error="yield", progress=progress):
        for outcome in batch.outcomes:
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                places.append(position)
                sources.append(outcome)
            position += 1
        if batch.rows is not None:
            parts.append(batch.rows.cpu())
    if not parts:
        raise _no_images(failures)
    return Embeddings(torch.cat(parts), np.asarray(places), tuple(sources), tuple(failures))


def _no_images(failures: list[Failure]) -> Exception:
    if not failures:
        return InputError("expected at least one image, got none; pass a list of images")
    first = failures[0].error
    return image_error(
        getattr(first, "kind", "decode_failed"),
        None,
        f"none of {len(failures)} images could be read; the first: {shortened(str(first), 300)}",
    )


def as_embeddings(given: Any, width: int) -> Embeddings | None:
    """Return embeddings that were given in place of images, or None for images.

    Raises InputError for embeddings of another dimension or not of unit length, for a single image,
    and for a set or dict of images.
    """
    if isinstance(given, Embeddings):
        return given
    if getattr(given, "ndim", 0) != 2 or not isinstance(given, np.ndarray | Tensor):
        check_many(given)
        in_order("images", given)
        return None
    rows = to_embeddings(given, width).detach().cpu()
    if not len(rows):
        raise InputError(f"expected embeddings [n, {width}], got none; pass at least one row")
    lengths = rows.norm(dim=1)
    if not bool(((lengths - 1).abs() < UNIT).all()):
        raise InputError(
            f"expected embeddings of unit length, got lengths {lengths.min():.3g} to "
            f"{lengths.max():.3g}; use model.encode_image, or divide each row by its length"
        )
    return Embeddings(rows, np.arange(len(rows)), (None,) * len(rows), ())


def no_answer(head: Head, answering: Answering | None) -> str | None:
    """Return the name of the column for no answer, or None for a classifier that always answers.

    It is "none of these" with background words, and "no answer" without.
    """
    if head.classes != head.labels:
        return NONE
    return None if answering is None else NO_ANSWER


def answer(
    head: Head,
    embeddings: Embeddings,
    truth: NDArray[np.int64],
    answering: Answering | None = None,
) -> Answers:
    """Answer images with one right label each: the column in `truth` [m].

    Raises InputError for a classifier that answers with names of a tree.
    """
    if answering is not None and answering.kind == "sure":
        raise InputError(
            "expected a classifier that answers with labels, got one with answering(sure=...), "
            "which answers with names of the tree; evaluate it without"
        )
    parts = []
    done = 0
    for rows, logits, chances in _scores(head, embeddings.rows):
        own = truth[done : done + len(logits)]
        done += len(logits)
        abstains = None
        if no_answer(head, answering) is not None:
            found = rank(head, rows, top=1, answers=answering)
            abstains = np.array([each.label is None for each in found])
        parts.append(_answer(logits, chances, own, len(head), abstains))
    return Answers(truth, *(np.concatenate(each) for each in zip(*parts, strict=True)))


def _answer(
    logits: NDArray[np.float32],
    chances: Floats,
    truth: NDArray[np.int64],
    labels: int,
    abstains: NDArray[np.bool_] | None,
) -> tuple[NDArray[Any], ...]:
    """Return the arrays of `Answers` without `truth`; of equal logits, the first is better."""
    lines = np.arange(len(logits))
    none = truth == labels  # then no answer is right
    has_column = truth < logits.shape[1]  # no column for it without background words
    column = np.where(has_column, truth, 0)
    own = logits[lines, column][:, None]
    before = np.arange(labels) < truth[:, None]
    better = ((logits[:, :labels] > own) | ((logits[:, :labels] == own) & before)).sum(axis=1)
    best = logits[:, :labels].argmax(axis=1)
    confidence, is_best_right = chances[lines, best], best == truth
    if abstains is not None:
        better = np.where(none, np.where(abstains, 0, np.maximum(better, 1)), better + abstains)
        best = np.where(abstains, labels, best)
    squares = np.einsum("nl,nl->n", chances, chances)
    return (
        best,
        better,
        confidence,
        is_best_right,
        np.where(has_column, chances[lines, column], 0.0),
        squares,
    )


def probabilities(head: Head, embeddings: Embeddings) -> Floats:
    """Return the probability of each label: float64 [m, L]."""
    return np.concatenate([chances for _, _, chances in _scores(head, embeddings.rows)])


def _scores(head: Head, rows: Tensor) -> Iterator[tuple[Tensor, NDArray[np.float32], Floats]]:
    """Yield embeddings, logits and probabilities of a part of the images at a time.

    Logits and probabilities are [part, L], with one more column for a head with none_of_these.
    """
    for part in rows.split(ROWS):
        logits = head.logits(part).cpu()
        yield part, logits.numpy(), head.probabilities(logits.double()).numpy()
