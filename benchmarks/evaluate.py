"""Time `zeroshot.evaluate` on embeddings of 10,000 images and 1000 labels, as one JSON line.

    python benchmarks/evaluate.py

The geometry is that of CLIP: texts and images are two cones with a gap, about 66 % are right. The
target is 10 s on two cores.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from torch.nn.functional import normalize

import zeroshot
from zeroshot.classifier import Classifier
from zeroshot.head import Head

SIZE = 512  # dimensions
SCALE = 100.0


class Encoder:
    """Stands for a model whose images are embedded already."""

    identity = "simulated"
    is_busy = False
    prepare = encode_pixels = map_batches = None


def simulate(images: int, labels: int, seed: int = 0) -> tuple[Classifier, torch.Tensor, list[int]]:
    """Draw text embeddings, and image embeddings near their labels."""
    random = torch.Generator().manual_seed(seed)

    def cone(count: int, similarity: float) -> torch.Tensor:
        center = normalize(torch.randn(SIZE, generator=random), dim=0)
        rows = normalize(torch.randn(count, SIZE, generator=random), dim=1)
        return normalize(similarity**0.5 * center + (1 - similarity) ** 0.5 * rows, dim=1)

    texts = cone(labels, 0.75)
    truth = torch.randint(0, labels, (images,), generator=random)
    rows = normalize(
        cone(images, 0.5) + 0.16 * normalize(texts - texts.mean(0), dim=1)[truth], dim=1
    )
    names = tuple(f"label {n}" for n in range(labels))
    head = Head(names, texts, SCALE, None, "simulated", tuple((n,) for n in names), ("{}",), "one")
    return Classifier(Encoder(), head), rows, truth.tolist()  # type: ignore[arg-type]


def main() -> None:
    """Print the seconds and the top-1 accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=1000)
    given = parser.parse_args()
    classifier, rows, truth = simulate(given.images, given.labels)
    start = time.perf_counter()
    report = zeroshot.evaluate(classifier, rows, truth)
    seconds = time.perf_counter() - start
    top1 = round(report.figures["top1"].value, 3)
    print(json.dumps({**vars(given), "seconds": round(seconds, 2), "top1": top1}))


if __name__ == "__main__":
    main()
