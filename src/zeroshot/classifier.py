"""Images and a Head become labels; knows an encoder only as a protocol."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, overload

import numpy as np
import torch
from torch import Tensor

from zeroshot import pipeline
from zeroshot.errors import ImageError, InputError
from zeroshot.head import Head
from zeroshot.images import ImageLike, describe, each, is_single
from zeroshot.predictions import Failure, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP = 5  # labels in a prediction


class ImageEncoder(Protocol):
    """What a classifier needs of a model."""

    @property
    def identity(self) -> str: ...
    @property
    def pool(self) -> Executor | None: ...  # threads to prepare and encode in, or None
    def prepare(self, image: ImageLike) -> NDArray[np.float32]: ...
    def encode_pixels(self, pixels: NDArray[np.float32] | Tensor) -> Tensor: ...


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
                stacklevel=_frames_of_ours(),
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
        alone = 0 if is_single(images) else None  # a single image is worth every core
        stream = self.stream(each(images), top=top, workers=alone)
        found = [result for result in stream if isinstance(result, Prediction)]
        return found[0] if is_single(images) else found

    def predict(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.str_]:
        """Return the best label of each image: str [n]."""
        best = self.decision_function(images).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """Return the probability of each label: float32 [n, L], rows sum to one."""
        logits = torch.from_numpy(self.decision_function(images))
        return np.asarray(logits.softmax(dim=-1).numpy())

    def decision_function(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """Return the logits, scaled cosine similarities: float32 [n, L]."""
        parts = [logits for _, logits in self._scored(each(images), None, None, "raise")]
        if not parts:
            return np.zeros((0, len(self.head)), dtype=np.float32)
        return np.asarray(torch.cat([part for part in parts if part is not None]).cpu().numpy())

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
        on_error: Literal["raise", "yield"] = "raise",
    ) -> Iterator[Prediction | Failure]:
        """Classify images one after another without holding them all.

        Images are decoded ahead, and results keep their order. On a CPU each core decodes and
        embeds batches of its own, unless `workers` says how many threads shall decode.
        With on_error="yield" an image that cannot be read becomes a Failure in its place.
        """
        if type(top) is not int or top < 1:
            raise InputError(f"top={top!r} must be a whole number of at least 1")
        if on_error not in ("raise", "yield"):
            raise InputError(f"on_error={on_error!r} must be 'raise' or 'yield'")
        if is_single(images):
            raise InputError(f"stream wants many images; for one, call the classifier: {images!r}")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size={batch_size!r} must be at least 1")
        return self._ranked(each(images), top, batch_size, workers, on_error)

    def _ranked(
        self,
        images: Iterable[ImageLike],
        top: int,
        size: int | None,
        workers: int | None,
        on_error: str,
    ) -> Iterator[Prediction | Failure]:
        for sources, logits in self._scored(images, size, workers, on_error):
            rankings = iter(self._rank(logits, top) if logits is not None else ())
            for source in sources:
                if isinstance(source, Failure):
                    yield source
                else:
                    ranking = next(rankings)
                    yield Prediction(*ranking[0], ranking, source)

    def _rank(self, logits: Tensor, top: int) -> list[tuple[tuple[str, float], ...]]:
        best, which = logits.softmax(dim=-1).topk(min(top, len(self.head)), dim=1)
        return [
            tuple((self.head.labels[column], value) for value, column in zip(*row, strict=True))
            for row in zip(best.tolist(), which.tolist(), strict=True)
        ]

    def _scored(
        self,
        images: Iterable[ImageLike],
        size: int | None,
        workers: int | None,
        on_error: str,
    ) -> Iterator[tuple[list[str | Failure | None], Tensor | None]]:
        """Yield, a batch at a time, where images came from (or a Failure), and logits [b, L].

        The logits have rows for the images that could be read only, and are None without any.
        """
        return pipeline.embedded(
            partial(self._prepare, on_error=on_error),
            self._encode,
            images,
            batch_size=size,
            workers=workers,
            pool=self.encoder.pool,
        )

    def _encode(
        self, batch: list[tuple[str | Failure | None, NDArray[np.float32] | None]]
    ) -> tuple[list[str | Failure | None], Tensor | None]:
        pixels = [each for _, each in batch if each is not None]
        logits = None
        if pixels:
            logits = self.head.logits(self.encoder.encode_pixels(np.stack(pixels)))
        return [source for source, _ in batch], logits

    def _prepare(
        self, image: ImageLike, *, on_error: str
    ) -> tuple[str | Failure | None, NDArray[np.float32] | None]:
        source = describe(image)
        try:
            return source, self.encoder.prepare(image)
        except ImageError as error:
            if on_error == "raise":
                raise
            return Failure(source, error), None


def _frames_of_ours() -> int:
    """Count the frames up to the caller's own code, so that a warning points there."""
    count, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("zeroshot."):
        count, frame = count + 1, frame.f_back
    return count
