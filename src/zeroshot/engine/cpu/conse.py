"""Run the embedded model's image tower on a CPU.

Its convolutions use the channels-last layout.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from zeroshot.engine.backend import Values
from zeroshot.nn.conse import ConSETower
from zeroshot.spec import ConSEConfig


class FastConSETower:
    """Embed pixels [b, 3, s, s] as [b, d].

    The result equals the plain tower's except for rounding. The class scores and the steps after
    them stay in float32: the softmax magnifies rounding errors, and these steps take almost no
    time.
    """

    def __init__(self, config: ConSEConfig, values: Values, dtype: torch.dtype) -> None:
        self.dtype = dtype
        with torch.device("meta"):
            self.tower = ConSETower(config, values["concepts"].shape[1])
        state = {name: values[name].clone() for name in self.tower.state_dict()}
        self.tower.load_state_dict(state, assign=True)
        self.tower.requires_grad_(False).eval()
        values.release()
        self.convolutions = copy.deepcopy(self.tower.classifier).to(dtype)
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return the features that the classifier scores, averaged in float32: [b, 1280]."""
        x = pixels.to(self.dtype, memory_format=torch.channels_last)
        return self.convolutions.features(x).float().mean(dim=(2, 3))

    def project(self, features: Tensor) -> Tensor:
        """Score the classes, then average their embeddings: [b, 1280] to [b, d]."""
        return self.tower.project(features)
