"""Define what lint finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from zeroshot.errors import shortened, some

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
SHOWN = 5  # labels named in a message


@dataclass(frozen=True)
class Problem:
    """One problem of a label set, as `zeroshot.lint` finds it.

    Args:
        level: "error" for labels that cannot work, "warning" for probable mistakes, "note" for what
            to check.
        kind: Short name of the rule, such as "equal".
        labels: The labels concerned, in order.
        message: What is wrong.
        suggestion: What to do about it.
        image: Path or URL of the image concerned, or its place, such as "images[3]". None for a
            problem of labels or prompts.

    Example:
        >>> problem = zeroshot.lint(["panda", "red panda", "bear"])[0]
        >>> problem.level, problem.kind, problem.labels
        ('warning', 'contained', ('panda', 'red panda'))
    """

    level: Level
    kind: str
    labels: tuple[str, ...]
    message: str
    suggestion: str
    image: str | None = None

    def __str__(self) -> str:
        return f"{self.level}: {self.message}; {self.suggestion}"


def quoted(texts: Iterable[str], shown: int = SHOWN) -> str:
    """List texts in quotes, and count those beyond the first few."""
    return some([repr(shortened(text)) for text in texts], shown)
