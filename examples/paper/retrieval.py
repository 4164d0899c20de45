"""Measure retrieval on pairs: the caption of an image, and an image of a caption.

    python -m examples.paper.retrieval MODEL PAIRS

MODEL is anything that `zeroshot.load` accepts, PAIRS a folder, a table or a tar file (see
`examples.paper.pairs`). Recall@k is the share of queries with a right result among the first k, as
in section 3.1 and Table 13 of Radford et al. 2021. Equal captions count as one: an image is
compared with each distinct caption, and any image of a caption is right for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import zeroshot
from examples.paper import options, pairs
from examples.paper.pairs import Pairs, Unused
from zeroshot import Model
from zeroshot.embedding import embed
from zeroshot.errors import ImageError, InputError
from zeroshot.evaluation import text
from zeroshot.evaluation.figures import Figure
from zeroshot.metrics import is_in_top, wilson_interval
from zeroshot.predictions import Failure

KS = (1, 5)  # numbers of results that are looked at
PART = 1024  # queries whose similarities are in memory at once


@dataclass(frozen=True)
class Recall:
    """Recall@k in one direction."""

    k: int
    right: int  # queries with a right result among the first k
    queries: int
    chance: float  # expected share for results in random order

    def __str__(self) -> str:
        low, high = wilson_interval(self.right, self.queries)
        share = text.percent(Figure(self.right / self.queries, low, high))
        return f"recall@{self.k} {share}, chance {100 * self.chance:.1f} %"


@dataclass(frozen=True)
class Retrieval:
    """Recall of both directions.

    Attributes:
        image_to_text: For each k, over images: is their caption among the first k captions?
        text_to_image: For each k, over distinct captions: is one of their images among the first k?
        images: Number of readable images.
        captions: Number of distinct captions.
        skipped: Images that are not counted, with the reason.
    """

    image_to_text: tuple[Recall, ...]
    text_to_image: tuple[Recall, ...]
    images: int
    captions: int
    skipped: Unused

    def __str__(self) -> str:
        lines = [f"{self.images} images, {self.captions} distinct captions; {self.skipped}"]
        lines += [f"image to text  {each}" for each in self.image_to_text]
        lines += [f"text to image  {each}" for each in self.text_to_image]
        return "\n".join(lines)


def measure(model: Model, found: Pairs, *, ks: Iterable[int] = KS) -> Retrieval:
    """Measure recall@k of a model on pairs. Raises InputError if no image can be read."""
    rows = model.tokenizer.rows(found.captions, truncate=True)
    spelled: dict[tuple[int, ...], str] = {}  # each distinct caption in its first spelling
    for row, caption in zip(rows, found.captions, strict=True):
        spelled.setdefault(tuple(row), caption)
    numbers = {row: n for n, row in enumerate(spelled)}
    truth = np.array([numbers[tuple(row)] for row in rows])  # equal for equal tokens
    images, readable = _embed_images(model, found)
    truth = truth[readable]
    present, truth = np.unique(truth, return_inverse=True)  # captions with a readable image
    distinct = list(spelled.values())
    texts = model.encode_text([distinct[n] for n in present], truncate=True).cpu().numpy()
    share = np.bincount(truth)  # images of each caption
    forward, backward = [], []
    for k in ks:
        right = sum(
            int(is_in_top(images[at : at + PART] @ texts.T, truth[at : at + PART], k).sum())
            for at in range(0, len(images), PART)
        )
        forward.append(Recall(k, right, len(images), min(1.0, k / len(texts))))
        chance = float(np.mean([_chance(int(n), len(images), k) for n in share]))
        found_by = sum(_finds(texts[n] @ images.T, truth == n, k) for n in range(len(texts)))
        backward.append(Recall(k, found_by, len(texts), chance))
    return Retrieval(tuple(forward), tuple(backward), len(images), len(texts), found.skipped)


def _embed_images(model: Model, found: Pairs) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the embeddings of the readable images, and which images are readable."""
    parts, readable = [], []
    for batch in embed(model, found.images, on_error="yield"):
        for outcome in batch.outcomes:
            readable.append(not isinstance(outcome, Failure))
            if isinstance(outcome, Failure):
                name = outcome.source or f"image {len(readable) - 1}"
                error = outcome.error
                kind = error.kind if isinstance(error, ImageError) else str(error)
                found.skipped[name] = f"unreadable: {kind}"
        if batch.rows is not None:
            parts.append(batch.rows.cpu().numpy())
    if not parts:
        raise InputError(f"expected readable images, got none; {found.skipped}")
    return np.concatenate(parts), np.array(readable)


def _finds(scores: NDArray[np.float32], right: NDArray[np.bool_], k: int) -> bool:
    """Return whether the best right result is among the first k; of equal scores it is the last."""
    return int((scores[~right] >= scores[right].max()).sum()) < k


def _chance(right: int, of: int, k: int) -> float:
    """Return the probability that k of `of` results, drawn at random, contain a right one."""
    return 1 - comb(of - right, k) / comb(of, k) if k <= of else 1.0


def main(arguments: list[str]) -> None:
    """Print the recall of the model on the pairs of the arguments."""
    parser = options.parser(__doc__)
    parser.add_argument("model", metavar="MODEL", help="name or path of a model")
    parser.add_argument("pairs", type=Path, metavar="PAIRS", help="folder, table or tar file")
    given = parser.parse_args(arguments)
    print(measure(zeroshot.load(given.model), pairs.read(given.pairs)))


if __name__ == "__main__":
    options.run(main)
