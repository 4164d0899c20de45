"""Embed images, and keep what the figures need of the scores of each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.embedding import ImageEncoder, embed
from zeroshot.errors import InputError, image_error, shortened
from zeroshot.head import Head, to_embeddings
from zeroshot.images import ImageLike, is_single
from zeroshot.metrics import Floats
from zeroshot.predictions import Failure
from zeroshot.progress import Show

ROWS = 1024  # images scored at once; 8 MB of float64 at 1000 labels
UNIT = 0.02  # allowed deviation of an embedding's length from 1; float16 files deviate by 0.001


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of images, and which images have none because they cannot be read."""

    rows: Tensor  # float32 [m, d], unit length
    places: NDArray[np.int64]  # position of each row among the images, [m]
    sources: tuple[str | None, ...]  # path, URL or key of each row
    failures: tuple[Failure, ...]

    @property
    def images(self) -> int:
        """Number of images, including those that cannot be read."""
        return len(self.places) + len(self.failures)


@dataclass(frozen=True)
class Answers:
    """The answer for each image, where each image has one right label; arrays are [n]."""

    truth: NDArray[np.int64]  # column of the right label
    best: NDArray[np.int64]  # column of the answer
    rank: NDArray[np.int64]  # number of labels that are better than the right one
    confidence: Floats  # probability of the answer
    own: Floats  # probability of the right label
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

    Raises InputError for embeddings of another dimension or not of unit length, and for a single
    image.
    """
    if isinstance(given, Embeddings):
        return given
    if getattr(given, "ndim", 0) != 2 or not isinstance(given, np.ndarray | Tensor):
        if is_single(given):
            raise InputError(
                f"expected a list of images or embeddings [n, {width}], got one image "
                f"{shortened(repr(given))}; pass [image]"
            )
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


def answer(head: Head, embeddings: Embeddings, truth: NDArray[np.int64]) -> Answers:
    """Score images with one right label each: the column in `truth` [m]."""
    parts = []
    done = 0
    for logits, chances in _scores(head, embeddings.rows):
        own = truth[done : done + len(logits)]
        done += len(logits)
        parts.append(_answer(logits, chances, own))
    return Answers(truth, *(np.concatenate(each) for each in zip(*parts, strict=True)))


def _answer(
    logits: NDArray[np.float32], chances: Floats, truth: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """Return best, rank, confidence, own and squares; of equal logits, the first is better."""
    lines = np.arange(len(logits))
    own = logits[lines, truth][:, None]
    before = np.arange(logits.shape[1]) < truth[:, None]
    rank = ((logits > own) | ((logits == own) & before)).sum(axis=1)
    best = logits.argmax(axis=1)
    squares = np.einsum("nl,nl->n", chances, chances)
    return best, rank, chances[lines, best], chances[lines, truth], squares


def probabilities(head: Head, embeddings: Embeddings) -> Floats:
    """Return the probability of each label: float64 [m, L]."""
    return np.concatenate([chances for _, chances in _scores(head, embeddings.rows)])


def _scores(head: Head, rows: Tensor) -> Iterator[tuple[NDArray[np.float32], Floats]]:
    """Yield logits and probabilities [part, L] of a part of the images at a time."""
    for part in rows.split(ROWS):
        logits = head.logits(part).cpu()
        yield logits.numpy(), head.probabilities(logits.double()).numpy()
