"""What a classification answers: a ranking of labels, or what went wrong with one image."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

BAR = 24  # characters of a full bar


@dataclass(frozen=True)
class Prediction:
    """The best labels of one image; prints as a small table with bars."""

    label: str
    probability: float  # 0..1, over the labels that were offered
    ranking: tuple[tuple[str, float], ...] = field(repr=False)  # best first
    source: str | None = None  # path or URL of the image, where it has one

    def __str__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(label)}</td>"
            f"<td>{probability:.1%}</td><td style='text-align:left'><div style='background:#4c78a8;"
            f"height:0.8em;width:{probability * 12:.2f}em'></div></td></tr>"
            for label, probability in self.ranking
        )
        caption = f"<caption>{html.escape(self.source)}</caption>" if self.source else ""
        return f"<table>{caption}{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
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
    """An image that could not be classified, and why."""

    source: str | None
    error: Exception

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"source": self.source, "error": str(self.error)}


def table(prediction: Prediction, block: str | None = "█") -> str:
    """Lay a ranking out in lines, with bars made of `block`, or without bars."""
    width = max(len(label) for label, _ in prediction.ranking)
    rows = [
        f"{label:<{width}}  {probability:6.1%}  {(block or '') * round(probability * BAR)}".rstrip()
        for label, probability in prediction.ranking
    ]
    return "\n".join([prediction.source, *rows] if prediction.source else rows)
