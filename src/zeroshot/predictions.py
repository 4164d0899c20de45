"""Results of a classification: a ranking of labels, or the error of one image."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

from zeroshot.cards import bar

BAR = 24  # characters in a full bar
NONE = "none of these"  # name of the class without a label


@dataclass(frozen=True)
class Prediction:
    """The best labels of one image; prints as a small table with bars.

    Args:
        label: The label with the highest probability, or None if the classifier gives no answer.
        probability: Score of the best label, 0..1: its share among the labels offered. After
            `Classifier.calibrate`, about this share of the images with such a score is right, if
            they are like those of the calibration.
        ranking: Pairs of label and probability, best first.
        source: Path, URL or key of the image, or None.
        none: Probability that the image shows none of the labels, of a classifier with
            none_of_these=True, else None.
        instead: The background word that fits better than every label, if that is why there is no
            answer; None if `Classifier.answering` decides.
        path: For a tree of labels, the names from the top to the answer.
        labels: The labels in the image, of a calibrated classifier with scores="independent".

    Example:
        >>> print(zeroshot.Prediction("cat", 0.75, (("cat", 0.75), ("dog", 0.25))))
        cat   75.0%  ██████████████████
        dog   25.0%  ██████
    """

    label: str | None
    probability: float  # 0..1, over all labels of the classifier
    ranking: tuple[tuple[str, float], ...] = field(repr=False)  # best first
    source: str | None = None  # path, URL or key of the image, if it has one
    none: float | None = field(default=None, repr=False)
    instead: str | None = field(default=None, repr=False)
    path: tuple[str, ...] | None = field(default=None, repr=False)
    labels: tuple[str, ...] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        rows = "".join(bar(*pair) for pair in rows_of(self))
        if self.label is None:
            rows = f"<tr><td colspan=3>{html.escape(no_answer(self))}</td></tr>{rows}"
        caption = f"<caption>{html.escape(self.source)}</caption>" if self.source else ""
        return f"<table>{caption}{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that can be written as JSON.

        Returns:
            The fields; `ranking` is a list of dicts with `label` and `probability`. Optional fields
            are present if they have a value.

        Example:
            >>> zeroshot.Prediction("cat", 1.0, (("cat", 1.0),)).to_dict()["label"]
            'cat'
        """
        facts = {
            "source": self.source,
            "label": self.label,
            "probability": self.probability,
            "ranking": [
                {"label": label, "probability": probability} for label, probability in self.ranking
            ],
        }
        extras = ("none", "instead", "path", "labels")
        return facts | {n: getattr(self, n) for n in extras if getattr(self, n) is not None}


@dataclass(frozen=True)
class Failure:
    """An image that could not be classified, and the error.

    Args:
        source: Path, URL or key of the image, or None.
        error: The exception, usually an ImageError; its `kind` says why.

    Example:
        >>> zeroshot.Failure("a.jpg", OSError("empty"))
        Failure(source='a.jpg', error=OSError('empty'))
    """

    source: str | None
    error: Exception

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that can be written as JSON.

        Returns:
            The source, and the message of the error.

        Example:
            >>> zeroshot.Failure("a.jpg", OSError("empty")).to_dict()
            {'source': 'a.jpg', 'error': 'empty'}
        """
        return {"source": self.source, "error": str(self.error)}


@dataclass(frozen=True)
class LabelSet:
    """Labels of which one is right with a promised probability.

    Args:
        labels: The labels, best first; never empty.
        probabilities: Their probabilities, 0..1.
        source: Path, URL or key of the image, or None.
        promise: What the set promises.

    Example:
        >>> print(zeroshot.LabelSet(("cat", "dog"), (0.6, 0.4), "a.jpg", "90 of 100 ..."))
        a.jpg: cat, dog
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...] = field(repr=False)
    source: str | None = None
    promise: str = field(default="", repr=False)

    def __str__(self) -> str:
        labels = ", ".join(self.labels)
        return f"{self.source}: {labels}" if self.source else labels

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, label: object) -> bool:
        return label in self.labels

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that can be written as JSON.

        Returns:
            The fields, without the promise.

        Example:
            >>> zeroshot.LabelSet(("cat",), (0.9,)).to_dict()["labels"]
            ['cat']
        """
        return {
            "source": self.source,
            "labels": list(self.labels),
            "probabilities": list(self.probabilities),
        }


def no_answer(prediction: Prediction) -> str:
    """Return the sentence for an image without an answer."""
    if prediction.instead is not None:
        return f"No label fits as well as '{prediction.instead}'."
    return "No answer: no label is sure enough."


def rows_of(prediction: Prediction, top: int | None = None) -> list[tuple[str, float]]:
    """Return the first labels and their probabilities, and those of none of these, if known."""
    rows = list(prediction.ranking[:top])
    return rows if prediction.none is None else [*rows, (NONE, prediction.none)]


def table(prediction: Prediction, block: str | None = "█") -> str:
    """Format a ranking as lines, with bars made of `block`, or without bars.

    The last line is "none of these" if the classifier knows its probability.
    """
    pairs = rows_of(prediction)
    width = max(len(label) for label, _ in pairs)
    rows = [
        f"{label:<{width}}  {probability:6.1%}  {(block or '') * round(probability * BAR)}".rstrip()
        for label, probability in pairs
    ]
    if prediction.label is None:
        rows = [no_answer(prediction), *rows]
    return "\n".join([prediction.source, *rows] if prediction.source else rows)
