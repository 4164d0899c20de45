"""The logit scale that calibrates mini's probabilities.

No photographs are used. Simulated ones are points around the direction of a class in the
classifier's feature space, with the noise level at which the classifier has its published accuracy.
They are labeled with names that the class templates do not use, among random other labels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.nn.conse import ConSETower

ACCURACY = 0.75  # top-1 of EfficientNet-Lite0 on the ImageNet validation set
PER_CLASS = 4
LABELS = 20  # labels per simulated photograph


def fit(visual: ConSETower, labels: Tensor, *, seed: int) -> float:
    """Return the scale that minimizes the log loss of the correct label [1000, d]."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(1000).repeat(PER_CLASS)
    scores = _simulated(visual.classifier.classifier, truth, generator)
    embeddings = F.normalize(visual.combine(scores), dim=1)
    likeness = embeddings @ F.normalize(labels, dim=1).T
    order = torch.rand(likeness.shape, generator=generator).scatter_(1, truth[:, None], 2.0)
    likeness = likeness.gather(1, order.topk(LABELS, dim=1).indices)  # the correct label first
    first = torch.zeros(len(truth), dtype=torch.long)
    return min((s / 2 for s in range(2, 200)), key=lambda s: F.cross_entropy(s * likeness, first))


def _simulated(head: torch.nn.Linear, truth: Tensor, generator: torch.Generator) -> Tensor:
    """Draw class scores with a top-1 accuracy of ACCURACY."""
    weight = head.weight - head.weight.mean(dim=0)
    center = 12 * F.normalize(weight, dim=1)[truth]
    noise = torch.randn(center.shape, generator=generator) * weight.std(dim=0)
    low, high = 0.0, 1000.0
    for _ in range(30):
        level = (low + high) / 2
        scores = F.linear(center + level * noise, head.weight, head.bias)
        right = (scores.argmax(dim=1) == truth).float().mean()
        low, high = (level, high) if right > ACCURACY else (low, level)
    return scores
