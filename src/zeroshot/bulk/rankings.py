"""Rank the labels of many embeddings at once, as arrays without an object per image.

The results are those of `zeroshot.scoring.rank`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.errors import InputError
from zeroshot.head import Head

STEP = 1024  # embeddings scored at once; 4 MB of logits for 1,000 labels stay in the cache


@dataclass(frozen=True)
class Rankings:
    """The best labels of n images."""

    best: NDArray[np.int64]  # indices of labels, best first [n, k]
    probabilities: NDArray[np.float32]  # of these labels [n, k]
    answered: NDArray[np.bool_]  # whether no background word fits better than every label [n]
    scores: NDArray[np.float16] | None  # probability of each label [n, L]


class Ranker:
    """Ranks embeddings with one head.

    Scales and temperature are multiplied into the rows of the labels once.

    Raises:
        InputError: The head has independent scores, which need the windows of each image.
    """

    def __init__(self, head: Head, top: int, *, with_scores: bool = False) -> None:
        if head.scoring == "independent":
            raise InputError(
                "expected a head with scores='model', got one with scores='independent', which "
                "compares parts of each image; the table has embeddings of whole images only; run "
                "`zeroshot label` with this head, or build the head with scores='model'"
            )
        self.labels = head.labels
        self._top, self._with_scores = min(top, len(head.labels)), with_scores
        self._softmax = head.scoring == "softmax"
        factor = head.inverse_temperature if self._softmax else 1.0
        scale = head.logit_scale * factor
        self._weight = (scale * head.weight.cpu()).T.contiguous()  # [d, L]
        self._words = None
        if head.background is not None:
            self._words = (scale * head.words.rows.cpu()).T.contiguous()  # [d, B]
        self._none_offset = head.none_offset
        slope, offset = head.logistic or (1.0, 0.0)
        self._slope, self._offset = slope, offset + slope * (head.logit_bias or 0.0)

    def rank(self, rows: Tensor) -> Rankings:
        """Rank the labels of embeddings, float32 [n, d], of unit length."""
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            parts = [self._rank(step) for step in rows.split(STEP)]
        best, probabilities, answered, scores = zip(*parts, strict=True)
        return Rankings(
            best=torch.cat(best).numpy(),
            probabilities=torch.cat(probabilities).numpy(),
            answered=torch.cat(answered).numpy(),
            scores=torch.cat(scores).numpy() if self._with_scores else None,
        )

    def _rank(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = rows @ self._weight  # [n, L], without the bias: a softmax does not change with it
        words = None if self._words is None else rows @ self._words  # [n, B]
        if not self._softmax:
            shown = self._slope * logits + self._offset
            probabilities = shown.sigmoid()
        else:
            shown, every = logits, logits
            if words is not None:
                none = words.logsumexp(dim=1, keepdim=True) + self._none_offset
                every = torch.cat([logits, none], dim=1)
            probabilities = every.softmax(dim=1)[:, : logits.shape[1]]
        # ordered by logits: small probabilities may be equal where logits are not
        best = shown.topk(self._top, dim=1).indices
        answered = torch.ones(len(rows), dtype=torch.bool)
        if words is not None:
            answered = words.amax(dim=1) <= logits.amax(dim=1)
        scores = probabilities.half() if self._with_scores else probabilities[:0]
        return best, probabilities.gather(1, best), answered, scores


def to_arrow(found: Rankings, fine: NDArray[np.bool_], names: Any) -> dict[str, Any]:
    """Return the columns label, probability, labels, probabilities and scores.

    Args:
        found: The rankings of all rows.
        fine: Which rows are no errors [n]. The others are null, and zeros in `scores`: pyarrow
            before 26 cannot read null lists of a fixed size.
        names: The labels as a pyarrow.StringArray.
    """
    import pyarrow as pa

    best, probabilities = found.best[fine], found.probabilities[fine]
    top = found.best.shape[1]
    offsets = pa.array(np.concatenate([[0], np.cumsum(fine * top)]), pa.int32())
    silent = ~(fine & found.answered)
    labels = names.take(pa.array(found.best[:, 0], mask=silent))
    lists = {
        "labels": names.take(pa.array(best.ravel())),
        "probabilities": pa.array(probabilities.ravel()),
    }
    columns = {
        "label": labels.dictionary_encode(),
        "probability": pa.array(found.probabilities[:, 0], mask=~fine),
        **{
            name: pa.ListArray.from_arrays(offsets, values, mask=pa.array(~fine))
            for name, values in lists.items()
        },
    }
    if found.scores is not None:
        kept = np.where(fine[:, None], found.scores, np.float16(0))
        columns["scores"] = pa.FixedSizeListArray.from_arrays(pa.array(kept.ravel()), kept.shape[1])
    return columns
