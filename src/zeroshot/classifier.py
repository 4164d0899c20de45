"""Classify images with a Head.

The encoder is any object with the ImageEncoder protocol.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args, overload

import numpy as np
import torch
from torch import Tensor

from zeroshot.arguments import count, instance, iterator, one_of, require
from zeroshot.callers import stack_level
from zeroshot.cards import card
from zeroshot.embedding import IMAGE_METHODS, Embedded, ImageEncoder, OnError, embed
from zeroshot.errors import InputError, short_errors_in, shortened, some
from zeroshot.gallery import Predictions
from zeroshot.head import Head
from zeroshot.images import ImageLike, is_single
from zeroshot.predictions import Failure, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP = 5  # labels in a prediction


@short_errors_in
class Classifier:
    """A model and a head, with scikit-learn's methods for images.

    Call it with one image for a `Prediction`, or with an iterable for a list of them in order.

    Args:
        encoder: A `Model`, or any object with its image methods.
        head: The labels, as `Model.head` builds them for the same model.

    Raises:
        HeadMismatch: The head was built for another model.

    Example:
        >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
        >>> classifier("cat.jpg").label
        'cat'
    """

    def __init__(self, encoder: ImageEncoder, head: Head) -> None:
        instance(
            "head",
            head,
            Head,
            "use model.classifier(labels) to make a classifier from labels, or model.head(labels) "
            "to make a head",
        )
        require("encoder", encoder, IMAGE_METHODS, "pass a model, as zeroshot.load() returns it")
        head.check(encoder.identity)
        if len(head) == 1:
            warnings.warn(
                f"the only label is {shortened(repr(head.labels[0]))}, so every image gets that "
                "label with probability 1; add other labels, or use model.similarity()",
                stacklevel=stack_level(),
            )
        self.encoder = encoder
        self.head = head

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The labels, in the order of the columns of `predict_proba`: str [L]."""
        return np.asarray(self.head.labels)

    def __repr__(self) -> str:
        return f"<Classifier of {len(self.head)} labels on {self.encoder!r}>"

    def _repr_html_(self) -> str:
        facts = {
            "model": self.encoder,
            "labels": some([shortened(label) for label in self.head.labels]),
            "prompts": self.head.prompts,
        }
        return card(f"Classifier of {len(self.head)} labels", facts)

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, images: ImageLike, *, top: int = ..., progress: bool | None = ...
    ) -> Prediction: ...
    @overload
    def __call__(
        self, images: Iterable[ImageLike], *, top: int = ..., progress: bool | None = ...
    ) -> Predictions: ...
    def __call__(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        top: int = TOP,
        progress: bool | None = None,
    ) -> Prediction | Predictions:
        """Classify one image or an iterable of images.

        Args:
            images: One image, or an iterable of images. An image is a path, an http(s) URL, bytes,
                a binary file, a PIL image, a numpy array, a torch tensor or a `Sample`.
            top: Number of labels to keep in each ranking.
            progress: Show a progress bar. None shows one on a terminal or in a notebook if the work
                takes longer than two seconds.

        Returns:
            A Prediction for one image, or `Predictions`, a list of them in order.

        Raises:
            ImageError: An image cannot be read. `stream(on_error="yield")` skips such images.
            InputError: `top` is not a positive integer.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> [found.label for found in classifier(["cat.jpg", "cat.jpg"])]
            ['cat', 'cat']
        """
        top = _check_top(top)
        found = [
            prediction
            for batch in embed(self.encoder, images, progress=progress)
            for prediction in self._predictions(batch, top)
            if isinstance(prediction, Prediction)
        ]
        return found[0] if is_single(images) else Predictions(found)

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, progress: bool | None = None
    ) -> NDArray[np.str_]:
        """Return the best label of each image: str [n].

        Args:
            images: One image, or an iterable of images; see `__call__`.
            progress: Show a progress bar; see `__call__`.

        Returns:
            One label per image.

        Raises:
            ImageError: An image cannot be read.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> classifier.predict(["cat.jpg"]).tolist()
            ['cat']
        """
        best = self.decision_function(images, progress=progress).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(
        self, images: ImageLike | Iterable[ImageLike], *, progress: bool | None = None
    ) -> NDArray[np.float32]:
        """Return the probability of each label: float32 [n, L].

        With softmax scoring each row sums to 1; with sigmoid scoring labels are independent.

        Args:
            images: One image, or an iterable of images; see `__call__`.
            progress: Show a progress bar; see `__call__`.

        Returns:
            One row per image; the columns are those of `classes_`.

        Raises:
            ImageError: An image cannot be read.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> classifier.predict_proba(["cat.jpg"]).shape
            (1, 2)
        """
        logits = torch.from_numpy(self.decision_function(images, progress=progress))
        return np.asarray(self.head.probabilities(logits).numpy())

    def decision_function(
        self, images: ImageLike | Iterable[ImageLike], *, progress: bool | None = None
    ) -> NDArray[np.float32]:
        """Return the logits, which are scaled cosine similarities: float32 [n, L].

        Args:
            images: One image, or an iterable of images; see `__call__`.
            progress: Show a progress bar; see `__call__`.

        Returns:
            One row per image; the columns are those of `classes_`.

        Raises:
            ImageError: An image cannot be read.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> classifier.decision_function(["cat.jpg"]).argmax(axis=1).tolist()
            [0]
        """
        parts = [
            self.head.logits(batch.rows).cpu()
            for batch in embed(self.encoder, images, progress=progress)
            if batch.rows is not None
        ]
        if not parts:
            return np.zeros((0, len(self.head)), dtype=np.float32)
        return np.asarray(torch.cat(parts).numpy())

    def score(
        self, images: Iterable[ImageLike], truth: Sequence[str], *, progress: bool | None = None
    ) -> float:
        """Return the accuracy, 0..1: the share of images whose best label is correct.

        Args:
            images: An iterable of images; see `__call__`.
            truth: The correct label of each image.
            progress: Show a progress bar; see `__call__`.

        Returns:
            The accuracy.

        Raises:
            InputError: A truth is not among the labels, or the lengths differ.
            ImageError: An image cannot be read.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> classifier.score(["cat.jpg"], ["cat"])
            1.0
        """
        truth, labels = list(iterator("truth", truth)), set(self.head.labels)
        if unknown := [each for each in truth if not isinstance(each, str) or each not in labels]:
            raise InputError(
                f"truth {shortened(repr(unknown[0]))} is not among the classifier's "
                f"{len(self.head)} labels; pass names from classifier.classes_"
            )
        predicted = self.predict(images, progress=progress)
        if len(predicted) != len(truth):
            raise InputError(
                f"expected one truth per image, got {len(predicted)} images and a truth of length "
                f"{len(truth)}; pass lists of equal length"
            )
        return float(np.mean(predicted == np.asarray(truth))) if len(predicted) else 0.0

    def stream(
        self,
        images: Iterable[ImageLike],
        *,
        top: int = 1,
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: OnError = "raise",
        progress: bool | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Classify images one by one with bounded memory, in order.

        Images are decoded ahead of their use. On a CPU each worker thread decodes and embeds its
        own batches.

        Args:
            images: An iterable of images; see `__call__`.
            top: Number of labels to keep in each ranking.
            batch_size: Number of images per batch. None selects a size for the device.
            workers: Number of threads that only decode; the calling thread then embeds. None
                selects the fastest arrangement for the device.
            on_error: "raise" raises ImageError for an image that cannot be read; "yield" yields a
                `Failure` at its position.
            progress: True shows a progress bar. None shows none, because it would mix with what the
                loop prints.

        Returns:
            An iterator of a Prediction or Failure for each image, in order.

        Raises:
            InputError: An argument is invalid, or `images` is a single image.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> for found in classifier.stream(["cat.jpg", "missing.jpg"], on_error="yield"):
            ...     print(type(found).__name__)
            Prediction
            Failure
        """
        top = _check_top(top)
        one_of("on_error", on_error, get_args(OnError))
        if is_single(images):
            raise InputError(
                f"stream expects an iterable of images, got one image {shortened(repr(images))}; "
                "pass a list, or call the classifier"
            )
        batches = embed(
            self.encoder,
            images,
            batch_size=batch_size,
            workers=workers,
            on_error=on_error,
            progress=False if progress is None else progress,
        )
        return (prediction for batch in batches for prediction in self._predictions(batch, top))

    def _predictions(self, batch: Embedded, top: int) -> Iterator[Prediction | Failure]:
        """Yield a Prediction for each embedding, and a Failure for each failed image."""
        rankings = iter(() if batch.rows is None else self._rank(batch.rows, top))
        for outcome in batch.outcomes:
            if isinstance(outcome, Failure):
                yield outcome
            else:
                ranking = next(rankings)
                yield Prediction(*ranking[0], ranking, outcome)

    def _rank(self, embeddings: Tensor, top: int) -> list[tuple[tuple[str, float], ...]]:
        probabilities = self.head.probabilities(self.head.logits(embeddings))
        best, which = probabilities.topk(min(top, len(self.head.labels)), dim=1)
        return [
            tuple((self.head.labels[column], value) for value, column in zip(*row, strict=True))
            for row in zip(best.tolist(), which.tolist(), strict=True)
        ]


def _check_top(top: int) -> int:
    return count("top", top, 1, "; try top=5")
