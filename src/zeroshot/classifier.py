"""Classify images with a Head.

The encoder is any object with the ImageEncoder protocol.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
import torch
from torch import Tensor

from zeroshot.answering import Answering, choose
from zeroshot.arguments import count, instance, iterator, one_of, require
from zeroshot.calibration import SetScore
from zeroshot.callers import stack_level
from zeroshot.cards import card
from zeroshot.embedding import (
    IMAGE_METHODS,
    Embedded,
    ImageEncoder,
    OnError,
    check_length,
    check_many,
    embed,
)
from zeroshot.errors import InputError, short_errors_in, shortened, some
from zeroshot.fitting import calibrate, with_examples
from zeroshot.gallery import Predictions
from zeroshot.head import Head
from zeroshot.images import ImageLike, is_single
from zeroshot.mixing import TEXT_WEIGHT
from zeroshot.prediction_sets import choose_sets, make_sets
from zeroshot.predictions import Failure, LabelSet, Prediction
from zeroshot.scoring import ShiftAlarm, rank
from zeroshot.vocabulary import NONE
from zeroshot.windows import encoder_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP = 5  # labels in a prediction


@short_errors_in
class Classifier:
    """A model and a head, with scikit-learn's methods for images.

    Call it with one image for a `Prediction`, or with an iterable for a list of them in order.

    Methods such as `calibrate` and `answering` return a new classifier; this one does not change.

    Args:
        encoder: A `Model`, or any object with its image methods.
        head: The labels, as `Model.head` builds them for the same model.
        answers: When to answer, as `answering` chooses it; None always answers, unless a background
            word fits better than every label.

    Raises:
        HeadMismatch: The head was built for another model.

    Example:
        >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
        >>> classifier("cat.jpg").label
        'cat'
    """

    def __init__(self, encoder: ImageEncoder, head: Head, answers: Answering | None = None) -> None:
        instance(
            "head",
            head,
            Head,
            "use model.classifier(labels) to make a classifier from labels, or model.head(labels) "
            "to make a head",
        )
        require("encoder", encoder, IMAGE_METHODS, "pass a model, as zeroshot.load() returns it")
        head.check(encoder.identity)
        if answers is not None:
            _expect_one_label(head, "answering")
        if len(head.classes) == 1 and head.scoring == "softmax":
            warnings.warn(
                f"the only label is {shortened(repr(head.labels[0]))}, so every image gets that "
                "label with probability 1; add other labels, or use model.similarity()",
                stacklevel=stack_level(),
            )
        self.encoder = encoder
        self.head = head
        self.answers = answers
        self._embedder = encoder_for(encoder, head.scoring)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The classes, in the order of the columns of `predict_proba`: str [L].

        With none_of_these=True the last one is "none of these".
        """
        return np.asarray(self.head.classes)

    def __repr__(self) -> str:
        facts = [f"<Classifier of {len(self.head)} labels"]
        facts += ["or none of these"] if self.head.background is not None else []
        if self.head.is_calibrated:
            facts.append("calibrated")
        elif self.head.has_temperature:
            facts.append("temperature kept, promises dropped")
        facts += [f"{self.answers.kind}={self.answers.value}"] if self.answers is not None else []
        return f"{', '.join(facts)} on {self.encoder!r}>"

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
        found = self._classify(images, top=top, progress=progress)
        return found[0] if is_single(images) else Predictions(found)

    def _classify(
        self, images: ImageLike | Iterable[ImageLike], *, top: int, progress: bool | None
    ) -> list[Prediction]:
        return [
            prediction
            for prediction in self._predictions(images, top, progress=progress)
            if isinstance(prediction, Prediction)
        ]

    def _embed(self, images: ImageLike | Iterable[ImageLike], **options: Any) -> Iterator[Embedded]:
        """Embed images, or their windows for independent scores."""
        return embed(self._embedder, images, **options)

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, progress: bool | None = None
    ) -> NDArray[np.str_]:
        """Return the best label of each image: str [n]; "none of these" for no answer.

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
        found = [
            NONE if prediction.label is None else prediction.label
            for prediction in self._classify(images, top=1, progress=progress)
        ]
        return np.asarray(found) if found else self.classes_[:0]

    def predict_proba(
        self, images: ImageLike | Iterable[ImageLike], *, progress: bool | None = None
    ) -> NDArray[np.float32]:
        """Return the probability of each label: float32 [n, L].

        With softmax scoring each row sums to 1. Before `calibrate` a probability is then the
        label's share among the labels offered, and it changes with them. With sigmoid scoring
        (`model.scoring`), as of SigLIP, each label has its own probability, sigmoid(scale *
        similarity + bias): rows do not sum to 1, other labels change nothing, and the values may be
        small for right labels too.

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
        """Return the logits: float32 [n, L].

        They are scaled cosine similarities, plus the logit bias if the model has one.

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
        batches = self._embed(
            images, score=lambda rows, _: self.head.logits(rows).cpu().numpy(), progress=progress
        )
        parts = [batch.scores for batch in batches if batch.rows is not None]
        if not parts:
            return np.zeros((0, len(self.head.classes)), dtype=np.float32)
        return np.concatenate(parts)

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
        truth = list(iterator("truth", truth))
        rows = self.head.find(truth)
        predicted = self.predict(images, progress=progress)
        check_length(len(predicted), len(truth))
        wanted = self.classes_[rows]  # -1 is the last class, "none of these"
        return float(np.mean(predicted == wanted)) if len(predicted) else 0.0

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
        check_many(images)
        return self._predictions(
            images,
            top,
            batch_size=batch_size,
            workers=workers,
            on_error=on_error,
            progress=False if progress is None else progress,
        )

    def calibrate(
        self,
        images: Iterable[ImageLike],
        truth: Iterable[object],
        *,
        progress: bool | None = None,
    ) -> Classifier:
        """Return a classifier whose probabilities are true on average for images like these.

        It fits one factor for the logits (temperature scaling), and with background words an offset
        of "none of these". It keeps what the images showed, so that `predict_set` and `answering`
        can make promises. Answers do not change.

        Args:
            images: An iterable of different images that did not make the head: at least 20, better
                100 or more; see `__call__`.
            truth: The right label of each image, or None for none of the labels. For independent
                scores, a list of the labels in each image; [] or None for no label.
            progress: Show a progress bar; see `__call__`.

        Returns:
            A new classifier. `print(classifier.head.calibration)` says what it is worth.

        Raises:
            InputError: There are fewer than 20 images, none shows a label, some are examples of the
                head, or `answering(keep=)` or `answering(error=)` was called before.
            LabelError: A truth is not a label of the head.
            ImageError: An image cannot be read.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> careful = classifier.calibrate(["cat.jpg"] * 50, ["cat", "dog"] * 25)
            >>> len(careful.head.calibration.truth)
            50
        """
        self._check_threshold("calibrate")
        embeddings, rows = self._with_truth(images, truth, progress)
        head = calibrate(self.head, embeddings, rows)
        return Classifier(self.encoder, head, self.answers)

    def with_examples(
        self,
        images: Iterable[ImageLike],
        truth: Iterable[object],
        *,
        text: float | Literal["auto"] = TEXT_WEIGHT,
        progress: bool | None = None,
    ) -> Classifier:
        """Return a classifier that also knows a few example images of some labels.

        Each row of the head becomes the average of its text and its examples, after the mean
        difference between texts and images is removed. With 20 examples or more the classifier is
        calibrated on them, each scored as if it had not been given.

        Args:
            images: Example images of at least two labels; see `__call__`.
            truth: The right label of each image.
            text: Number of images that the text counts as; "auto" chooses it by leaving each
                example out, which requires at least 4 examples of every label.
            progress: Show a progress bar; see `__call__`.

        Returns:
            A new classifier.

        Raises:
            InputError: `text` is invalid, there are examples of fewer than two labels, or scores
                are independent.
            LabelError: A truth is not a label of the head.
            ImageError: An image cannot be read.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> len(classifier.with_examples(["cat.jpg"] * 2, ["cat", "dog"]).head.examples)
            2
        """
        _expect_one_label(self.head, "with_examples")
        self._check_threshold("with_examples")
        embeddings, rows = self._with_truth(images, truth, progress)
        head = with_examples(self.head, embeddings, rows, text)
        return Classifier(self.encoder, head, self.answers)

    def predict_set(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        coverage: float = 0.9,
        confidence: float | None = None,
        per_label: bool = False,
        score: SetScore = "lac",
        progress: bool | None = None,
    ) -> list[LabelSet]:
        """Return for each image the labels of which one is right, with a promised probability.

        Args:
            images: One image, or an iterable of images; see `__call__`.
            coverage: Share of sets that contain the right label, 0..1.
            confidence: None promises the coverage on average over calibrations like this one. A
                probability, such as 0.9, promises it for this calibration with that probability;
                sets are then larger.
            per_label: Promise the coverage for each label, which requires many images of each.
            score: How labels are added: "lac" gives the smallest sets; "aps" and "raps" give more
                labels to images that are hard.
            progress: Show a progress bar; see `__call__`.

        Returns:
            One `LabelSet` per image.

        Raises:
            InputError: The classifier is not calibrated, an argument is invalid, the calibration
                images are too few, or scores are independent.
            ImageError: An image cannot be read.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> careful = classifier.calibrate(["cat.jpg"] * 50, ["cat", "dog"] * 25)
            >>> careful.predict_set(["cat.jpg"])[0].labels
            ('cat', 'dog')
        """
        return list(self._sets(images, coverage, confidence, per_label, score, progress=progress))

    def stream_sets(
        self,
        images: Iterable[ImageLike],
        *,
        coverage: float = 0.9,
        confidence: float | None = None,
        per_label: bool = False,
        score: SetScore = "lac",
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: OnError = "raise",
        progress: bool | None = None,
    ) -> Iterator[LabelSet | Failure]:
        """Return the sets of `predict_set` one by one with bounded memory, in order.

        Args:
            images: An iterable of images; see `__call__`.
            coverage: See `predict_set`.
            confidence: See `predict_set`.
            per_label: See `predict_set`.
            score: See `predict_set`.
            batch_size: See `stream`.
            workers: See `stream`.
            on_error: See `stream`.
            progress: See `stream`.

        Returns:
            An iterator of a LabelSet or Failure for each image, in order.

        Raises:
            InputError: As for `predict_set` and `stream`.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> careful = classifier.calibrate(["cat.jpg"] * 50, ["cat", "dog"] * 25)
            >>> [found.labels for found in careful.stream_sets(["cat.jpg"])]
            [('cat', 'dog')]
        """
        one_of("on_error", on_error, get_args(OnError))
        check_many(images)
        return self._sets(
            images,
            coverage,
            confidence,
            per_label,
            score,
            batch_size=batch_size,
            workers=workers,
            on_error=on_error,
            progress=False if progress is None else progress,
        )

    def _sets(
        self,
        images: ImageLike | Iterable[ImageLike],
        coverage: float,
        confidence: float | None,
        per_label: bool,
        score: SetScore,
        **options: Any,
    ) -> Iterator[Any]:
        """Return a LabelSet for each image, and a Failure for each failed one."""
        _expect_one_label(self.head, "predict_set")
        rule = choose_sets(self.head, coverage, confidence, per_label, score)
        find = partial(make_sets, self.head, rule=rule)
        return _in_order(self._embed(images, score=find, **options))

    def answering(
        self,
        *,
        keep: float | None = None,
        error: float | None = None,
        below: float | None = None,
        sure: float | None = None,
        confidence: float = 0.9,
    ) -> Classifier:
        """Return a classifier that answers only when it is sure; others get label None.

        Args:
            keep: At most 1 - keep of the images that show a label are turned away. Requires
                `calibrate`.
            error: At most this share of the answers is wrong. Requires `calibrate`.
            below: Images whose best label has a lower probability get no answer. No promise.
            sure: For a tree of labels: answer with the finest name of at least this probability.
            confidence: Probability that the promise of `error` holds.

        Returns:
            A new classifier; `print(classifier.answers)` says what it promises.

        Raises:
            InputError: Not exactly one argument is given, the classifier is not calibrated, the
                calibration images cannot show it, or scores are independent.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog", "bird"])
            >>> classifier.answering(below=0.9)("cat.jpg").label
            'cat'
        """
        _expect_one_label(self.head, "answering")
        answers = choose(
            {"keep": keep, "error": error, "below": below, "sure": sure},
            confidence,
            self.head.calibration,
            has_words=self.head.background is not None,
            has_tree=self.head.paths is not None,
        )
        return Classifier(self.encoder, self.head, answers)

    def _check_threshold(self, call: str) -> None:
        """Raise InputError if the threshold of the answers belongs to another calibration."""
        if self.answers is not None and self.answers.kind in ("keep", "error"):
            kind, value = self.answers.kind, self.answers.value
            raise InputError(
                f"{call} would change the scores that answering({kind}={value}) was chosen for; "
                f"call {call} first, then answering({kind}={value})"
            )

    def _with_truth(
        self, images: Iterable[ImageLike], truth: Iterable[object], progress: bool | None
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the embeddings of images [n, d] on the CPU and the rows of their labels [n]."""
        check_many(images)
        rows = self._find(truth)
        batches = self._embed(images, progress=progress)
        parts = [batch.rows.cpu() for batch in batches if batch.rows is not None]
        embeddings = torch.cat(parts) if parts else self.head.weight[:0].cpu()
        check_length(len(embeddings), len(rows))
        return embeddings, rows

    def _find(self, truth: Iterable[object]) -> NDArray[np.int64]:
        """Return the row of each label [n]; for independent scores 0 or 1 for each label [n, L]."""
        if self.head.scoring != "independent":
            return self.head.find(truth)
        listed = [[] if labels is None else labels for labels in iterator("truth", truth)]
        members = np.zeros((len(listed), len(self.head)), dtype=np.int64)
        for member, labels in zip(members, listed, strict=True):
            if isinstance(labels, str) or not isinstance(labels, Iterable):
                raise InputError(
                    "expected the labels of each image as a list, because scores are independent, "
                    f"got {shortened(repr(labels))}; write [['cat', 'dog'], ['cat'], []]"
                )
            member[self.head.find(labels)] = 1
        return members

    def _predictions(
        self, images: ImageLike | Iterable[ImageLike], top: int, **options: Any
    ) -> Iterator[Prediction | Failure]:
        """Return a Prediction for each image, and a Failure for each failed one.

        Warns if the images look different from those of the calibration.
        """
        score = partial(rank, self.head, top=top, answers=self.answers)
        found = _in_order(self._embed(images, score=score, **options))
        return found if self.head.calibration is None else ShiftAlarm(self.head).watch(found)


def _expect_one_label(head: Head, call: str) -> None:
    """Raise InputError for independent scores, where any number of labels can be in an image."""
    if head.scoring == "independent":
        raise InputError(
            f"{call} expects a classifier that gives one label per image, got one with "
            "scores='independent', where each label has its own score; use classifier.calibrate, "
            "after which found.labels lists the labels in an image, or omit scores='independent' "
            "(on the command line `zeroshot calibrate`)"
        )


def _in_order(batches: Iterator[Embedded]) -> Iterator[Any]:
    """Yield the result or failure of each image of the batches."""
    for batch in batches:
        results = iter(batch.scores)
        for outcome in batch.outcomes:
            yield outcome if isinstance(outcome, Failure) else next(results)


def _check_top(top: int) -> int:
    return count("top", top, 1, "; try top=5")
