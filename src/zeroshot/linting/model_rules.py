"""Rules that need a model: labels whose text embeddings are similar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zeroshot import prompts
from zeroshot.linting.entries import LabelSet
from zeroshot.linting.problems import Problem, quoted
from zeroshot.prompts import PromptSet
from zeroshot.similarity import background_cosine, similar_pairs
from zeroshot.tokenizers import Tokenizer

SYNONYMS = 0.65  # relative similarity from which two labels are near-synonyms
# Measured with mini on 176 photographs of 92 labels: 5 % of the pairs are over it, and 65 % of the
# errors are between such pairs.
RELATED = 0.3
WORDS = 300  # background words that are embedded
SHOWN = 20  # related pairs in the note


class TextModel(Protocol):
    """The part of a model that lint requires."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    def head(
        self, labels: Mapping[str, tuple[str, ...]], prompts: PromptSet, *, allow_equal: bool
    ) -> Any: ...


def find_similar(labels: LabelSet, model: TextModel) -> Iterator[Problem]:
    """Find pairs of labels with similar embeddings, the most similar first."""
    readable = labels.readable
    if len(readable) < 2:
        return
    rows = _embed(model, labels.prompts, [entry.names for entry in readable])
    words = prompts.background_words()
    sample = words[:: len(words) // WORDS]
    fitting = [word for word in sample if prompts.fits(word, labels.prompts, model.tokenizer)]
    names = [(word,) for word in fitting]
    background = background_cosine(_embed(model, labels.prompts, names)) if names[1:] else 0.0
    pairs = [
        (readable[i].label, readable[j].label, value)
        for i, j, value in similar_pairs(rows, background, RELATED)
    ]
    pairs.sort(key=lambda pair: -pair[2])
    for first, second, value in pairs:
        if value > SYNONYMS:
            yield Problem(
                level="warning",
                kind="synonyms",
                labels=(first, second),
                message=(
                    f"{quoted([first, second])}: near-synonyms, relative similarity {value:.2f}"
                ),
                suggestion="merge them as names of one label?",
            )
    yield from _note_related([pair for pair in pairs if pair[2] <= SYNONYMS])


def _note_related(pairs: list[tuple[str, str, float]]) -> Iterator[Problem]:
    """Yield one note with a table of the most similar pairs."""
    if not pairs:
        return
    shown = pairs[:SHOWN]
    width = max(len(first) + len(second) for first, second, _ in shown) + 3
    table = [f"{f'{first} - {second}':<{width}}  {value:.2f}" for first, second, value in shown]
    more = f"\n(the first {SHOWN})" if len(pairs) > SHOWN else ""
    yield Problem(
        level="note",
        kind="related",
        labels=tuple(
            dict.fromkeys(label for first, second, _ in shown for label in (first, second))
        ),
        message=(
            f"pairs with a relative similarity over {RELATED}: {len(pairs)}\n"
            + "\n".join(table)
            + more
        ),
        suggestion=(
            "check these pairs first: most errors of the demo model were between similar labels"
        ),
    )


def _embed(
    model: TextModel, prompt_set: PromptSet, labels: Sequence[tuple[str, ...]]
) -> NDArray[np.float32]:
    """Return one row per label: float32 [n, d], unit length."""
    head = model.head(
        {str(i): names for i, names in enumerate(labels)}, prompt_set, allow_equal=True
    )
    return np.asarray(head.weight.cpu().numpy(), np.float32)
