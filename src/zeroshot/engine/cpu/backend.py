"""Run rewritten towers on a CPU.

Single-threaded workers run batches that fit a core's cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from zeroshot import lookahead
from zeroshot.engine.backend import Images, Item, NetworkWeights, Pixels, Result, Row
from zeroshot.engine.cpu import workers
from zeroshot.engine.cpu.towers import CPU_TOWERS
from zeroshot.engine.fork_lock import ForkLock
from zeroshot.engine.plain import TEXTS, PlainBackend
from zeroshot.engine.resampling import Resampler
from zeroshot.spec import NetworkConfig

VALUES = 4 * 3 * 256**2  # of pixels per micro-batch of images with different shapes
IMAGES = 8  # per micro-batch: with more, activations do not fit a core's cache
BUSY_SECONDS = 2.0  # how long single images use one core after another program took one away
WAITED = 0.9  # share of the time that a thread ran, below which it waited for a core

Task = TypeVar("Task")
Output = TypeVar("Output")


class CpuBackend(Resampler):
    """Runs the CPU versions of towers; each is built on first use.

    It borrows the weights one tensor at a time and keeps copies in its own memory layout. A tower
    without a CPU version runs as the plain module.
    """

    texts_at_once = TEXTS
    text_workers = 0

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
        self.busy_until = 0.0
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

    def embed_pixels(
        self, pixels: Images, batch_size: int | None = None, project: bool = True
    ) -> Tensor:
        """Embed pixels of n images as float32 [n, d], or as features without `project`.

        Even a few images are distributed over all workers. Images of different shapes are grouped
        by shape, so that they need no padding.
        """
        tower = self._tower("visual", self._config.vision)
        if tower is None:
            return self._plain.embed_pixels(pixels, batch_size, project)
        run = tower if project else tower.trunk

        @_in_inference
        def embed(batch: Tensor) -> Tensor:
            embeddings: Tensor = run(batch.to(self.device, self.dtype)).float()
            return embeddings

        share = 1 if len(pixels) == 1 else -(-len(pixels) // workers.count())
        size = min(batch_size or IMAGES, max(share, 1))
        if isinstance(pixels, Tensor):
            return torch.cat(self._run(embed, pixels.split(size)))
        images = cast("Sequence[Tensor]", pixels)  # `load` returned no levels
        groups = _group(images, size)
        parts = self._run(lambda group: embed(torch.stack([images[i] for i in group])), groups)
        order = torch.tensor([i for group in groups for i in group])
        return torch.cat(parts)[order.argsort()]

    def embed_ids(self, rows: list[Row], batch_size: int | None = None) -> Tensor:
        """Embed distinct texts as float32 [n, d].

        `batch_size` is ignored: the tower plans batches by tokens.
        """
        tower = self._tower("text", self._config.text)
        if tower is None:
            return self._plain.embed_ids(rows, batch_size)

        def run(work: Callable[[Task], Output], tasks: Sequence[Task]) -> list[Output]:
            return self._run(_in_inference(work), tasks)

        shape = (len(rows), self._config.embed_dim)
        embeddings = torch.empty(shape, dtype=torch.float32, device=self.device)
        for texts, part in tower.embed_rows(rows, run):
            embeddings[texts] = part
        return embeddings

    def _run(self, work: Callable[[Task], Output], tasks: Sequence[Task]) -> list[Output]:
        """Run tasks on the workers; a single one runs on all cores, unless others use them.

        torch's threads wait for each other after every operation, so one that gets no core delays
        all of them. If this happened, single tasks run on one core for a while.
        """
        if torch.get_num_threads() == 1:  # such as in a worker or a forked child
            return workers.run(work, tasks)
        busy = time.monotonic() < self.busy_until
        if len(tasks) != 1 or busy:
            return workers.run(work, tasks, least=1 if busy else 2)
        before = _get_thread_usage()
        result = work(tasks[0])
        elapsed, ran, preempted = (b - a for a, b in zip(before, _get_thread_usage(), strict=True))
        if preempted and ran < WAITED * elapsed:
            self.busy_until = time.monotonic() + BUSY_SECONDS
        return [result]

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
        return lookahead.embed_batches(
            prepare, embed, items, batch_size=batch_size, workers=workers, pool=pool
        )


def _group(images: Sequence[Tensor], most: int) -> list[list[int]]:
    """Group the numbers of at most `most` images of the same shape [3, h, w]."""
    by_shape: dict[torch.Size, list[int]] = {}
    for i, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(i)
    groups: list[list[int]] = []
    for shape, numbers in by_shape.items():
        size = min(most, max(1, VALUES // shape.numel()))
        groups += [numbers[first : first + size] for first in range(0, len(numbers), size)]
    return groups


_get_pool = workers.get_pool


def _get_thread_usage() -> tuple[float, float, int]:
    """Return the time, the seconds this thread ran, and how often it was preempted.

    Where the system does not count preemptions of a thread, their number is 0.
    """
    if not hasattr(resource, "RUSAGE_THREAD"):
        return 0.0, 0.0, 0
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime, usage.ru_nivcsw


def _in_inference(work: Callable[[Task], Output]) -> Callable[[Task], Output]:
    """Run a function in inference mode without autocast; both are settings of a thread."""

    @wraps(work)
    def run(task: Task) -> Output:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            return work(task)

    return run
