"""Towers on a CPU: rewritten, spread over one-thread workers in batches that fit a core's cache."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, wraps
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroshot import pipeline
from zeroshot.engine.backend import Item, NetworkWeights, Pixels, Result, Row
from zeroshot.engine.cpu import workers
from zeroshot.engine.cpu.prefix_trees import Batch, plan
from zeroshot.engine.cpu.towers import CPU_TOWERS
from zeroshot.engine.plain import PlainBackend
from zeroshot.engine.resampling import prepare
from zeroshot.engine.torch_state import inference
from zeroshot.images import ImageLike
from zeroshot.images.preprocess import Preprocess
from zeroshot.spec import NetworkConfig

IMAGES = 8  # of a micro-batch: beyond it activations leave a core's cache

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class CpuBackend:
    """Runs the CPU versions of towers; each is made when it is first used.

    It borrows the weights one tensor at a time and keeps copies in its own layout. A tower without
    a CPU version runs as the plain module.
    """

    def __init__(
        self,
        weights: NetworkWeights,
        config: NetworkConfig,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.device, self.dtype = device, dtype
        self._weights, self._config = weights, config
        self._plain = PlainBackend(weights, config, device, dtype)  # makes nothing until it is used
        self._making = threading.Lock()  # workers may use a tower for the first time all at once

    @cached_property
    def _visual(self) -> Callable[[Tensor], Tensor] | None:
        return self._made(self._config.vision, "visual")  # type: ignore[no-any-return]

    @cached_property
    def _text(self) -> Any:
        return self._made(self._config.text, "text")

    def _made(self, config: Any, module: str) -> Any:
        """Make a tower's CPU version, or None where it has none."""
        rewrite = CPU_TOWERS.get(type(config))
        if rewrite is None:
            return None
        with torch.inference_mode():
            return rewrite(config, self._weights.values(module), self.dtype)

    def prepare(self, image: ImageLike, preprocess: Preprocess) -> NDArray[np.float32]:
        """Make normalized pixels of an image: float32 [3, size, size]."""
        return prepare(image, preprocess, self.dtype)

    def embed_pixels(self, pixels: Tensor, batch_size: int | None = None) -> Tensor:
        """Embed pixels [n, 3, s, s] as float32 [n, d]; a few images are spread over all workers."""
        with self._making:
            tower = self._visual
        if tower is None:
            return self._plain.embed_pixels(pixels, batch_size)
        share = -(-len(pixels) // workers.count())
        size = min(batch_size or IMAGES, max(share, 1))

        @_in_inference
        def embed(batch: Tensor) -> Tensor:
            return tower(batch.to(self.device, self.dtype)).float()

        return torch.cat(workers.run(embed, pixels.split(size)))

    def embed_ids(self, rows: list[Row], batch_size: int | None = None) -> Tensor:
        """Embed distinct texts as float32 [n, d]; what they begin with alike is computed once.

        `batch_size` is not needed: batches are planned by tokens.
        """
        with self._making:
            tower = self._text
        if tower is None:
            return self._plain.embed_ids(rows, batch_size)
        batches = plan(rows, workers.count())
        prefixes = list({batch.prefix: None for batch in batches})
        kept = dict(zip(prefixes, workers.run(_in_inference(tower.prefix), prefixes), strict=True))

        @_in_inference
        def embed(batch: Batch) -> Tensor:
            found: Tensor = tower.run(batch, kept[batch.prefix]).float()
            return found

        shape = (len(rows), self._config.embed_dim)
        embeddings = torch.empty(shape, dtype=torch.float32, device=self.device)
        for batch, part in zip(batches, workers.run(embed, batches), strict=True):
            embeddings[batch.texts] = part
        if bad := not_finite(embeddings):
            # Or only beside one: a key that is not seen has weight 0, but 0 * NaN is NaN.
            embeddings[bad] = self._plain.embed_ids([rows[i] for i in bad])
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
        """Let each worker prepare and embed batches of its own, in order.

        With `workers`, so many threads prepare items ahead and the caller's thread embeds them.
        """
        pool = _pool() if workers is None else None
        return pipeline.embedded(
            prepare, embed, items, batch_size=batch_size, workers=workers, pool=pool
        )


_pool = workers.pool


def _in_inference(work: Callable[[Task], Answer]) -> Callable[[Task], Answer]:
    """Run work in inference mode, which holds for a thread only."""

    @wraps(work)
    def run(task: Task) -> Answer:
        with inference(CPU, torch.float32):
            return work(task)

    return run


CPU = torch.device("cpu")


def not_finite(embeddings: Tensor) -> list[int]:
    """List the rows that hold NaN or infinity."""
    return [int(row) for row in (~torch.isfinite(embeddings).all(dim=1)).nonzero()]
