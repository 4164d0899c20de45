"""Fakes of a GPU: copies that are late, graphs with fixed addresses, a memory that runs out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tests.engine.support import CPU, network_of
from zeroshot.checkpoint.weights import Weights
from zeroshot.engine.backend import Levels
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.engine.cuda.graphs import Graphs
from zeroshot.engine.cuda.memory import Limit
from zeroshot.engine.cuda.runtime import Run, Runtime, SimulatedRuntime, Wait
from zeroshot.engine.cuda.staging import Staging
from zeroshot.engine.cuda.text_batches import TEXTS
from zeroshot.spec import NetworkConfig

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class LateRuntime(SimulatedRuntime):
    """Copies as late as it may: when the source is reused, or when the target is read."""

    def __init__(self) -> None:
        self.pinned = 0  # bytes allocated
        self.copies = 0
        self._pending: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def allocate_pinned(self, size: int) -> Tensor:
        self.pinned += size
        return super().allocate_pinned(size)

    def copy(self, target: Tensor, source: Tensor) -> Wait:
        self.copies += 1
        done = False

        def copy_now() -> None:
            nonlocal done
            with self._lock:
                if not done:
                    target.copy_(source)
                    done = True

        self._pending.append(copy_now)
        return copy_now

    def receive(self, target: Tensor) -> None:
        with self._lock:
            while self._pending:
                self._pending.pop()()


class GraphRuntime(SimulatedRuntime):
    """Records functions with an input of their own, as a graph does."""

    captures = True

    def __init__(self, error: Exception | None = None) -> None:
        self.captured: list[tuple[int, ...]] = []  # shapes
        self.replayed: list[int] = []  # address of the input of each replay
        self.waits = 0
        self.error = error

    def capture(self, run: Run, given: Tensor) -> Run:
        self.captured.append(tuple(given.shape))
        if self.error is not None:
            raise self.error
        static = torch.empty_like(given)

        def replay(given: Tensor) -> Tensor:
            static.copy_(given)
            self.replayed.append(static.data_ptr())
            return run(static).clone()

        return replay

    def finish_replays(self) -> None:
        self.waits += 1


class SmallRuntime(SimulatedRuntime):
    """Describes a device with little memory."""

    def __init__(self, free: int | None = None) -> None:
        self.free, self.released = free, 0

    def free_memory(self) -> int | None:
        return self.free

    def describe_memory(self) -> str:
        return "0.1 of 16.0 GB are free"

    def release_memory(self) -> None:
        self.released += 1


def backend_of(
    config: NetworkConfig,
    runtime: Runtime | None = None,
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float32,
) -> CudaBackend:
    """Return a backend over random weights, on a fake device if `runtime` is given."""
    backend = CudaBackend(Weights.of_network(network_of(config), config), config, device, dtype)
    if runtime is not None:
        backend._runtime = runtime
        backend._staging = Staging(runtime, slots=2, slot_bytes=20_000)
        backend._graphs = Graphs(runtime)
        backend._texts = Limit(runtime, TEXTS, "text")
    return backend


def levels(config: NetworkConfig, count: int, seed: int = 0) -> list[Levels]:
    """Draw images that differ in color and not only in noise."""
    size, random = config.vision.image_size, np.random.default_rng(seed)
    colors = random.integers(0, 200, (count, 3, 1, 1))
    values = (colors + random.integers(0, 56, (count, 3, size, size))).astype(np.uint8)
    return [Levels(each, MEAN, STD) for each in values]


def normalized(images: list[Levels]) -> Tensor:
    """Return the pixels that the reference makes of gray levels: float32 [n, 3, s, s]."""
    from zeroshot.images.preprocess import Preprocess

    values = [np.asarray(each.values) for each in images]
    reference = Preprocess(values[0].shape[1], mean=MEAN, std=STD)
    pixels = [reference.normalize(each.transpose(1, 2, 0)) for each in values]
    return torch.from_numpy(np.stack(pixels))


def unit(embeddings: Tensor) -> Tensor:
    return torch.nn.functional.normalize(embeddings.cpu(), dim=1)
