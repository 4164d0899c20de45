"""Results of a classification: a ranking of labels, or the error of one image."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

from zeroshot.cards import bar

BAR = 24  # characters in a full bar


@dataclass(frozen=True)
class Prediction:
    """The best labels of one image; prints as a small table with bars.

    Args:
        label: The label with the highest probability.
        probability: Its probability, 0..1, over all labels of the classifier.
        ranking: Pairs of label and probability, best first.
        source: Path, URL or key of the image, or None.

    Example:
        >>> print(zeroshot.Prediction("cat", 0.75, (("cat", 0.75), ("dog", 0.25))))
        cat   75.0%  ██████████████████
        dog   25.0%  ██████
    """

    label: str
    probability: float  # 0..1, over all labels of the classifier
    ranking: tuple[tuple[str, float], ...] = field(repr=False)  # best first
    source: str | None = None  # path, URL or key of the image, if it has one

    def __str__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        rows = "".join(bar(*pair) for pair in self.ranking)
        caption = f"<caption>{html.escape(self.source)}</caption>" if self.source else ""
        return f"<table>{caption}{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that can be written as JSON.

        Returns:
            The fields; `ranking` is a list of dicts with `label` and `probability`.

        Example:
            >>> zeroshot.Prediction("cat", 1.0, (("cat", 1.0),)).to_dict()["label"]
            'cat'
        """
        return {
            "source": self.source,
            "label": self.label,
            "probability": self.probability,
            "ranking": [
                {"label": label, "probability": probability} for label, probability in self.ranking
            ],
        }


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


def table(prediction: Prediction, block: str | None = "█") -> str:
    """Format a ranking as lines, with bars made of `block`, or without bars."""
    width = max(len(label) for label, _ in prediction.ranking)
    rows = [
        f"{label:<{width}}  {probability:6.1%}  {(block or '') * round(probability * BAR)}".rstrip()
        for label, probability in prediction.ranking
    ]
    return "\n".join([prediction.source, *rows] if prediction.source else rows)
