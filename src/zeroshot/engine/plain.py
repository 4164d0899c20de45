"""Run the plain modules of `zeroshot.nn` on any torch device.

The device is CUDA, MPS, or a CPU as reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from zeroshot import lookahead
from zeroshot.engine.backend import Images, Item, NetworkWeights, Pixels, Result, Row
from zeroshot.engine.fork_lock import ForkLock
from zeroshot.engine.resampling import Resampler
from zeroshot.engine.torch_state import inference
from zeroshot.spec import NetworkConfig

TEXTS = 4_096  # given to `embed_ids` at once
BATCH = 256  # default number of images or texts to run at once


class PlainBackend(Resampler):
    """Runs the plain modules; each is copied to the device on first use."""

    busy_until = 0.0
    texts_at_once = TEXTS
    text_workers = 0

    def __init__(
        self,
        weights: NetworkWeights,
        config: NetworkConfig,
        device: torch.device,
        dtype: torch.dtype,
        *,
        tf32: bool = False,
    ) -> None:
        self.device, self.dtype, self.tf32 = device, dtype, tf32
        self._weights, self._config = weights, config
        self._lock = ForkLock()  # several threads may build a tower at once

    @cached_property
    def _visual(self) -> nn.Module:
        return self._weights.materialize("visual", device=self.device, dtype=self.dtype)

    @cached_property
    def _text(self) -> nn.Module:
        return self._weights.materialize("text", device=self.device, dtype=self.dtype)

    def embed_pixels(
        self, pixels: Images, batch_size: int | None = None, project: bool = True
    ) -> Tensor:
        """Embed pixels of n images as float32 [n, d], or as features without `project`.

        Images of different shapes are padded to the most patches of their batch, and masked.
        """
        with self._lock:
            tower: Any = self._visual
        run, size = tower if project else tower.trunk, batch_size or BATCH
        if isinstance(pixels, Tensor):
            with inference(self.device, self.dtype, tf32=self.tf32):
                parts = [
                    run(part.to(self.device, self.dtype)).float() for part in pixels.split(size)
                ]
            return torch.cat(parts)
        images = cast("Sequence[Tensor]", pixels)  # `load` returned no levels
        order = sorted(range(len(images)), key=lambda i: images[i].numel())
        with inference(self.device, self.dtype, tf32=self.tf32):
            batches = [
                [images[i].to(self.device, self.dtype) for i in order[first : first + size]]
                for first in range(0, len(order), size)
            ]
            rows = torch.cat([run(batch).float() for batch in batches])
        return rows[torch.tensor(order, device=rows.device).argsort()]

    def embed_ids(self, rows: list[Row], batch_size: int | None = None) -> Tensor:
        """Embed texts as float32 [n, d], sorted by length.

        Each batch is padded to its longest text only, which is exact because attention is causal or
        padding is masked; rows of other towers have the same length.
        """
        with self._lock:
            tower = self._text
        size, pad = batch_size or BATCH, (self._config.text.pad or 0,)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        shape = (len(rows), self._config.embed_dim)
        embeddings = torch.empty(shape, dtype=torch.float32, device=self.device)
        for first in range(0, len(rows), size):
            indices = order[first : first + size]
            length = len(rows[indices[-1]])
            padded = [rows[i] + pad * (length - len(rows[i])) for i in indices]
            with inference(self.device, self.dtype, tf32=self.tf32):
                part = tower(torch.tensor(padded, device=self.device)).float()
            embeddings[indices] = part
        return embeddings

    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Result]:
        """Prepare items ahead on threads and embed them in batches, in order."""
        return lookahead.embed_batches(
            prepare, embed, items, batch_size=batch_size, workers=workers
        )
