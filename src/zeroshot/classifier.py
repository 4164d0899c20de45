"""Images and a Head become Predictions; knows an encoder only as a protocol."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from torch import Tensor

from zeroshot.callers import stack_level
from zeroshot.embedding import Embedded, ImageEncoder, OnError, check_batch_size, embed
from zeroshot.errors import InputError
from zeroshot.head import Head
from zeroshot.images import ImageLike, is_single
from zeroshot.predictions import Failure, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP = 5  # labels in a prediction


class Classifier:
    """A model and a head: scikit-learn's verbs, on images.

    Call it with one image for a Prediction, or with many for a list of them, in their order.
    """

    def __init__(self, encoder: ImageEncoder, head: Head) -> None:
        if not isinstance(head, Head):
            raise InputError(
                f"head is {type(head).__name__}, wanted a Head; model.classifier(labels) makes a "
                "classifier of labels, model.head(labels) a head"
            )
        head.check(encoder.identity)
        if len(head) == 1:
            warnings.warn(
                f"the only label is {head.labels[0]!r}, so every image will be it with "
                "probability 1; add what else it could be, or compare model.similarity()",
                stacklevel=stack_level(),
            )
        self.encoder = encoder
        self.head = head

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The labels, in the order of the columns of `predict_proba`."""
        return np.asarray(self.head.labels)

    def __repr__(self) -> str:
        return f"<Classifier of {len(self.head)} labels on {self.encoder!r}>"

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, images: ImageLike, *, top: int = ...
    ) -> Prediction: ...
    @overload
    def __call__(self, images: Iterable[ImageLike], *, top: int = ...) -> list[Prediction]: ...
    def __call__(
        self, images: ImageLike | Iterable[ImageLike], *, top: int = TOP
    ) -> Prediction | list[Prediction]:
        """Classify one image or many; `top` labels are kept in each ranking.

        Raises ImageError for the first image that cannot be read; `stream(on_error="yield")`
        gives the others all the same.
        """
        _check_top(top)
        found = [
            ranked
            for batch in embed(self.encoder, images)
            for ranked in self._ranked(batch, top)
            if isinstance(ranked, Prediction)
        ]
        return found[0] if is_single(images) else found

    def predict(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.str_]:
        """Return the best label of each image: str [n]."""
        best = self.decision_function(images).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """Return the probability of each label: float32 [n, L], rows sum to one."""
        logits = torch.from_numpy(self.decision_function(images))
        return np.asarray(self.head.probabilities(logits).numpy())

    def decision_function(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """Return the logits, scaled cosine similarities: float32 [n, L]."""
        parts = [
            self.head.logits(batch.rows).cpu()
            for batch in embed(self.encoder, images)
            if batch.rows is not None
        ]
        if not parts:
            return np.zeros((0, len(self.head)), dtype=np.float32)
        return np.asarray(torch.cat(parts).numpy())

    def score(self, images: Iterable[ImageLike], truth: Sequence[str]) -> float:
        """Return the share of images whose best label is the true one.

        Raises InputError when a truth is not among the labels, or the counts differ.
        """
        if unknown := set(truth) - set(self.head.labels):
            raise InputError(
                f"truth {min(unknown, key=str)!r} is not among the classifier's labels"
            )
        found = self.predict(images)
        if len(found) != len(truth):
            raise InputError(f"{len(found)} images but {len(truth)} truths; give one each")
        return float(np.mean(found == np.asarray(truth))) if len(found) else 0.0

    def stream(
        self,
        images: Iterable[ImageLike],
        *,
        top: int = 1,
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[Prediction | Failure]:
        """Classify images one after another without holding them all.

        Images are decoded ahead, and results keep their order. On a CPU each core decodes and
        embeds batches of its own, unless `workers` says how many threads shall decode.
        With on_error="yield" an image that cannot be read becomes a Failure in its place.
        """
        _check_top(top)
        if is_single(images):
            raise InputError(f"stream wants many images; for one, call the classifier: {images!r}")
        check_batch_size(batch_size)
        batches = embed(
            self.encoder, images, batch_size=batch_size, workers=workers, on_error=on_error
        )
        return (ranked for batch in batches for ranked in self._ranked(batch, top))

    def _ranked(self, batch: Embedded, top: int) -> Iterator[Prediction | Failure]:
        """Yield a Prediction for each embedding of a batch, and its failures in their places."""
        rankings = iter(() if batch.rows is None else self._rank(batch.rows, top))
        for outcome in batch.outcomes:
            if isinstance(outcome, Failure):
                yield outcome
            else:
                ranking = next(rankings)
                yield Prediction(*ranking[0], ranking, outcome)

    def _rank(self, embeddings: Tensor, top: int) -> list[tuple[tuple[str, float], ...]]:
        probabilities = self.head.probabilities(self.head.logits(embeddings))
        best, which = probabilities.topk(min(top, len(self.head)), dim=1)
        return [
            tuple((self.head.labels[column], value) for value, column in zip(*row, strict=True))
            for row in zip(best.tolist(), which.tolist(), strict=True)
        ]


def _check_top(top: int) -> None:
    if type(top) is not int or top < 1:
        raise InputError(f"top={top!r} must be a whole number of at least 1")
