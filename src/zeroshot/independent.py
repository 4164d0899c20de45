"""Score labels independently of each other: several labels can be in one image.

A label competes with background words and with labels that mean something else, but not with
labels that overlap it, such as "dog" with "animal". Its score is the best over the windows of an
image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeroshot.vocabulary import Background

WORDS, LABELS = 0.5, 0.3  # relative similarity from which a word or label does not compete
LARGEST = 50.0  # of the logits, so that their sigmoid stays below 1


def independent_logits(
    labels: Tensor, words: Tensor, weight: Tensor, background: Background
) -> Tensor:
    """Return the logit of each label against its competitors, the best over windows: [n, L].

    Args:
        labels: Scaled similarities of windows with labels: [n, W, L].
        words: Scaled similarities with background words: [n, W, B].
        weight: Rows of the labels [L, d].
        background: The words.
    """
    against_words = background.similarity(weight, background.rows) < WORDS  # [L, B]
    against_labels = background.similarity(weight, weight) < LABELS  # [L, L]
    top = torch.maximum(labels.amax(-1, keepdim=True), words.amax(-1, keepdim=True))
    rivals = (words - top).exp() @ against_words.to(words).T
    rivals += (labels - top).exp() @ against_labels.to(labels).T
    logits = labels - top - rivals.log()
    return logits.clamp(-LARGEST, LARGEST).amax(dim=-2)
