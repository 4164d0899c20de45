"""A simulated CLIP: two cones with a gap between images and texts, as published models have.

Similarities are about those of ViT-B/32: text-text .75, image-image .5, image-right text .28,
image-wrong text .18, with a logit scale of 100.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot.fitting import calibrate
from zeroshot.head import Head
from zeroshot.vocabulary import Background

MEANINGS, WIDTH = 200, 512


@dataclass
class Simulation:
    """Unit rows of images [n, d], labels [L, d] and words [B, d], and the truth [n]; -1 unknown."""

    images: Tensor
    truth: NDArray[np.int64]
    labels: Tensor
    words: Tensor

    def head(self, *, with_words: bool = False, scoring: str = "softmax") -> Head:
        """Return a head of the labels."""
        names = tuple(f"label {i}" for i in range(len(self.labels)))
        words = Background(tuple(f"word {i}" for i in range(len(self.words))), self.words)
        return Head(
            labels=names,
            weight=self.labels,
            logit_scale=100.0,
            logit_bias=None,
            model="simulated",
            names=tuple((name,) for name in names),
            templates=("{}",),
            prompts="plain",
            scoring=scoring,  # type: ignore[arg-type]
            background=words if with_words or scoring == "independent" else None,
        )


def simulate(
    labels: int, images: int, *, words: int = 0, unknown: int = 0, seed: int = 0
) -> Simulation:
    """Draw concepts, their texts, and images: `images` of each label and unknown concept."""
    random = np.random.default_rng(seed)
    total = labels + unknown + words
    groups = _unit(random.normal(size=(20, MEANINGS)))[random.integers(0, 20, total)]
    shared = _unit(0.55 * groups + _unit(random.normal(size=(total, MEANINGS))))
    meanings = _unit(shared + 0.8 * _unit(random.normal(size=(total, MEANINGS))))
    text = np.zeros((total, WIDTH))
    text[:, 2 : 2 + MEANINGS] = 0.5 * meanings
    text[:, 0] = np.sqrt(0.75) + 0.016 * random.normal(size=total)
    text[:, 1] = 0.016 * random.normal(size=total)
    concept = np.repeat(np.arange(labels + unknown), images)
    count = len(concept)
    strength = np.clip(1 + 0.25 * random.normal(size=count), 0.3, 2)[:, None]
    other = shared[random.integers(0, total, count)]
    noise = 2.4 * _unit(random.normal(size=(count, MEANINGS)))
    picture = np.zeros((count, WIDTH))
    picture[:, 2 : 2 + MEANINGS] = np.sqrt(0.5) * _unit(
        strength * shared[concept] + 0.3 * other + noise
    )
    picture[:, 0] = np.sqrt(0.5) * 0.3 + 0.015 * random.normal(size=count)
    picture[:, 1] = np.sqrt(0.5) * np.sqrt(0.91)
    picture[:, 202:] += 0.2 * _unit(random.normal(size=(count, WIDTH - 202)))
    rows = torch.from_numpy(_unit(text).astype(np.float32))
    return Simulation(
        images=torch.from_numpy(_unit(picture).astype(np.float32)),
        truth=np.where(concept < labels, concept, -1).astype(np.int64),
        labels=rows[:labels],
        words=rows[labels + unknown :],
    )


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def halves(drawn: Simulation, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows to fit to, a quarter, and the others, in random order."""
    order = torch.randperm(len(drawn.truth), generator=torch.Generator().manual_seed(seed))
    return order[: len(order) // 4], order[len(order) // 4 :]


def calibrated(head: Head, drawn: Simulation, rows: Tensor) -> Head:
    """Return a head calibrated on these rows, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return calibrate(head, drawn.images[rows], drawn.truth[rows.numpy()])
