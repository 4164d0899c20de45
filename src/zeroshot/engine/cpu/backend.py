"""Run rewritten towers on a CPU.

Single-threaded workers run batches that fit a core's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from zeroshot import pipeline
from zeroshot.engine.backend import Item, NetworkWeights, Pixels, Result, Row
from zeroshot.engine.cpu import workers
from zeroshot.engine.cpu.prefix_trees import Batch, plan
from zeroshot.engine.cpu.towers import CPU_TOWERS
from zeroshot.engine.fork_lock import ForkLock
from zeroshot.engine.plain import PlainBackend
from zeroshot.engine.resampling import Resampler
from zeroshot.spec import NetworkConfig

IMAGES = 8  # per micro-batch: with more, activations do not fit a core's cache

Task = TypeVar("Task")
Output = TypeVar("Output")


class CpuBackend(Resampler):
    """Runs the CPU versions of towers; each is built on first use.

    It borrows the weights one tensor at a time and keeps copies in its own memory layout. A tower
    without a CPU version runs as the plain module.
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
        self._plain = PlainBackend(
            weights, config, device, dtype
        )  # builds nothing until it is used
        self._towers: dict[str, Any] = {}
        self._lock = ForkLock()  # several workers may build a tower at once

    def _tower(self, module: str, config: Any) -> Any:
        """Return a tower's CPU version, built on first use, or None if it has none."""
        if module not in self._towers:
            with self._lock, torch.inference_mode():
                rewrite = CPU_TOWERS.get(type(config))
                if module not in self._towers:
                    self._towers[module] = rewrite and rewrite(
                        config, self._weights.values(module), self.dtype
                    )
        return self._towers[module]

    def embed_pixels(self, pixels: Tensor, batch_size: int | None = None) -> Tensor:
        """Embed pixels [n, 3, s, s] as float32 [n, d].

        Even a few images are distributed over all workers.
        """
        tower = self._tower("visual", self._config.vision)
        if tower is None:
            return self._plain.embed_pixels(pixels, batch_size)

        @_in_inference
        def embed(batch: Tensor) -> Tensor:
            embeddings: Tensor = tower(batch.to(self.device, self.dtype)).float()
            return embeddings

        if len(pixels) == 1:
            return torch.cat([embed(pixels)])  # a copy outside of inference mode
        share = -(-len(pixels) // workers.count())
        size = min(batch_size or IMAGES, max(share, 1))
        return torch.cat(workers.run(embed, pixels.split(size)))

    def embed_ids(self, rows: list[Row], batch_size: int | None = None) -> Tensor:
        """Embed distinct texts as float32 [n, d]; common prefixes are computed once.

        `batch_size` is ignored: batches are planned by tokens.
        """
        tower = self._tower("text", self._config.text)
        if tower is None:
            return self._plain.embed_ids(rows, batch_size)
        batches = plan(rows, workers.count())
        prefixes = list({batch.prefix: None for batch in batches})
        kept = dict(
            zip(prefixes, workers.run(_in_inference(tower.compute_prefix), prefixes), strict=True)
        )

        @_in_inference
        def embed(batch: Batch) -> Tensor:
            found: Tensor = tower.run(batch, kept[batch.prefix]).float()
            return found

        shape = (len(rows), self._config.embed_dim)
        embeddings = torch.empty(shape, dtype=torch.float32, device=self.device)
        for batch, part in zip(batches, workers.run(embed, batches), strict=True):
            embeddings[batch.texts] = part
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
        """Prepare and embed batches, each in one worker, in order.

        With `workers`, that many threads prepare items ahead and the caller's thread embeds them.
        """
        pool = _get_pool() if workers is None else None
        return pipeline.embed_batches(
            prepare, embed, items, batch_size=batch_size, workers=workers, pool=pool
        )


_get_pool = workers.get_pool


def _in_inference(work: Callable[[Task], Output]) -> Callable[[Task], Output]:
    """Run a function in inference mode without autocast; both are settings of a thread."""

    @wraps(work)
    def run(task: Task) -> Output:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            return work(task)

    return run
