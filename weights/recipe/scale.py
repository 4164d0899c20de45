"""The logit scale: the temperature at which mini's probabilities mean what they say.

No photograph is looked at. Simulated ones are points around a class's own direction in the
classifier's feature space, as noisy as makes the classifier right as often as published; they
are labelled by names the class templates do not use, among random other labels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.nn.conse import ConSETower

ACCURACY = 0.75  # EfficientNet-Lite0 on ImageNet's validation photographs
PER_CLASS = 4
LABELS = 20  # labels a simulated photograph is tried with


def fit(visual: ConSETower, labels: Tensor, *, seed: int) -> float:
    """Return the scale that minimises the log loss of the right label [1000, d]."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(1000).repeat(PER_CLASS)
    scores = _simulated(visual.classifier.classifier, truth, generator)
    embeddings = F.normalize(visual.place(scores), dim=1)
    likeness = embeddings @ F.normalize(labels, dim=1).T
    order = torch.rand(likeness.shape, generator=generator).scatter_(1, truth[:, None], 2.0)
    likeness = likeness.gather(1, order.topk(LABELS, dim=1).indices)  # the right label first
    first = torch.zeros(len(truth), dtype=torch.long)
    return min((s / 2 for s in range(2, 200)), key=lambda s: F.cross_entropy(s * likeness, first))


def _simulated(head: torch.nn.Linear, truth: Tensor, generator: torch.Generator) -> Tensor:
    """Draw class scores whose best is right for ACCURACY of all."""
    weight = head.weight - head.weight.mean(dim=0)
    centre = 12 * F.normalize(weight, dim=1)[truth]
    noise = torch.randn(centre.shape, generator=generator) * weight.std(dim=0)
    low, high = 0.0, 1000.0
    for _ in range(30):
        level = (low + high) / 2
        scores = F.linear(centre + level * noise, head.weight, head.bias)
        right = (scores.argmax(dim=1) == truth).float().mean()
        low, high = (level, high) if right > ACCURACY else (low, level)
    return scores
