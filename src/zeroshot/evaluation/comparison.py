"""Compare classifiers and templates on the same images, with paired intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from zeroshot import metrics
from zeroshot import prompts as prompt_sets
from zeroshot.calibration import binomial_cdf
from zeroshot.classifier import Classifier
from zeroshot.errors import InputError
from zeroshot.evaluation.answers import ROWS, Embeddings
from zeroshot.evaluation.figures import CONFIDENCE, Figure, proportion
from zeroshot.head import Head
from zeroshot.metrics import DRAWS, Floats


@dataclass(frozen=True)
class Difference:
    """The top-1 accuracy of one classifier minus that of another on the same images."""

    name: str
    top1: Figure
    change: Figure  # top-1 minus that of the base

    @property
    def is_outside(self) -> bool:
        """Whether the paired interval excludes zero."""
        return excludes_zero(self.change)


@dataclass(frozen=True)
class TemplateEffect:
    """What one template of a prompt set changes."""

    template: str
    top1: Figure  # with this template alone
    alone: Figure  # change of top-1 if it is used alone
    without: Figure | None  # change of top-1 if it is left out; None for the only template


class SentenceEncoder(Protocol):
    """The part of a model that embeds the sentences of a template."""

    def encode_text(self, texts: list[str]) -> Tensor: ...


def excludes_zero(change: Figure) -> bool:
    """Return whether the interval of a difference excludes zero."""
    assert change.low is not None
    assert change.high is not None
    return change.low > 0 or change.high < 0


def changes(
    right: NDArray[np.bool_], base: NDArray[np.bool_], *, draws: int = DRAWS, seed: int = 0
) -> list[Figure]:
    """Return the difference in accuracy of each column of `right` [n, k] to `base` [n].

    The interval is a paired bootstrap over images: each resample takes the same images for both. A
    bootstrap of few differing images is too narrow, so zero is included unless the exact sign test
    (McNemar's) also finds a difference. Where all resamples are equal, as without any change, the
    bounds are those of Wilson's interval for 0 of n images.
    """
    each = right.astype(np.float64) - base[:, None]

    def mean(weights: Floats) -> Floats:
        return np.asarray(weights @ each / weights.sum(axis=1, keepdims=True))

    low, high = metrics.bootstrap(mean, len(base), draws=draws, confidence=CONFIDENCE, seed=seed)
    value = each.mean(axis=0)
    margin = np.where(low == high, metrics.wilson_interval(0, len(base), CONFIDENCE)[1], 0.0)
    low, high = np.maximum(low - margin, -1), np.minimum(high + margin, 1)
    values = zip(value.tolist(), low.tolist(), high.tolist(), strict=True)
    return [
        Figure(*value) if _is_significant(each[:, n]) else _with_zero(*value)
        for n, value in enumerate(values)
    ]


def _is_significant(differences: Floats) -> bool:
    """Return whether a sign test rejects that both directions are equally likely."""
    gains, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return 2 * binomial_cdf(min(gains, losses), gains + losses, 0.5) <= 1 - CONFIDENCE


def _with_zero(value: float, low: float, high: float) -> Figure:
    return Figure(value, min(low, 0.0), max(high, 0.0))


def template_effects(
    classifier: Classifier,
    embeddings: Embeddings,
    truth: NDArray[np.int64],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[TemplateEffect, ...]:
    """Measure each template of a classifier's head, alone and left out.

    Raises InputError for a head that was not built from these templates by this model, such as a
    concatenated one.
    """
    head = classifier.head
    encoder = cast(SentenceEncoder, classifier.encoder)
    parts = [_sum_of(head, template, encoder) for template in head.templates]
    total = torch.stack(parts).sum(0)
    if not torch.allclose(F.normalize(total, dim=1), head.weight.cpu(), atol=0.02):
        raise InputError(
            "expected a head built from its own templates, got rows that are not their mean; "
            "rebuild it with model.head(labels, prompts)"
        )
    base, alone, without = _right(embeddings.rows, parts, total, truth)
    whole = changes(np.hstack([alone, without]), base, draws=draws, seed=seed)
    size = len(parts)
    return tuple(
        TemplateEffect(
            template,
            proportion(alone[:, n]),
            whole[n],
            whole[size + n] if size > 1 else None,
        )
        for n, template in enumerate(head.templates)
    )


def _sum_of(head: Head, template: str, encoder: SentenceEncoder) -> Tensor:
    """Return the sum over the names of each label of its sentence in one template: [L, d]."""
    sentences = [prompt_sets.insert(template, name) for names in head.names for name in names]
    rows = encoder.encode_text(sentences).float().cpu()
    owners = torch.repeat_interleave(torch.tensor([len(names) for names in head.names]))
    return torch.zeros(len(head), rows.shape[1]).index_add_(0, owners, rows)


def _right(
    rows: Tensor, parts: list[Tensor], total: Tensor, truth: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which answers are right, of all templates [n], of each alone and of the rest [n, T].

    A bias and a scale of the logits change no answer, so cosines suffice.
    """
    columns = torch.from_numpy(truth)
    alone = np.zeros((len(rows), len(parts)), bool)
    without = np.zeros_like(alone)
    base = np.zeros(len(rows), bool)
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        scores = rows[part] @ total.T  # [part, L]
        base[part] = _hits(scores, total, columns[part])
        for n, own in enumerate(parts):
            share = rows[part] @ own.T
            alone[part, n] = _hits(share, own, columns[part])
            if len(parts) > 1:
                without[part, n] = _hits(scores - share, total - own, columns[part])
    return base, alone, without


def _hits(scores: Tensor, weight: Tensor, truth: Tensor) -> NDArray[np.bool_]:
    best = (scores / weight.norm(dim=1)).argmax(dim=1)
    return np.asarray((best == truth).numpy())
