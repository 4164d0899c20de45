"""What the CUDA backend needs from a device: pinned memory, copies, graphs and processes.

All calls of `torch.cuda` are in this module. `SimulatedRuntime` does the same on a CPU, at once and
without graphs, so the rest of the backend is tested without a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from zeroshot.engine.fork_lock import ForkLock
from zeroshot.errors import DeviceError

Run = Callable[[Tensor], Tensor]
Wait = Callable[[], None]
GB = 10**9
SPAWN = (
    "load the model in the child process, or start it with multiprocessing.get_context('spawn'); "
    "the parent must not use CUDA before it forks"
)


class Runtime(Protocol):
    """The operations of a device that are not operations on tensors."""

    captures: bool  # whether `capture` is supported

    def check_process(self) -> None:
        """Raise DeviceError in a process that was forked after the device was used."""

    def free_memory(self) -> int | None:
        """Return the bytes that tensors can still take, or None if they are not limited."""

    def describe_memory(self) -> str:
        """Return the free and the total memory as a part of a message."""

    def release_memory(self) -> None:
        """Return cached memory to the device."""

    def allocate_pinned(self, size: int) -> Tensor:
        """Return host memory that the device can read directly: uint8 [size]."""

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return memory of the device for `copy`."""

    def copy(self, target: Tensor, source: Tensor) -> Wait:
        """Start to copy pinned memory to the device.

        Returns a function that waits until `source` may be overwritten.
        """

    def receive(self, target: Tensor) -> None:
        """Let the later operations of this thread wait for the copies into `target`."""

    def aside(self) -> AbstractContextManager[int]:
        """Run the operations of a block beside those of other threads, and wait for them.

        Yields the address of their stream. Results must be given to `receive`.
        """

    def capture(self, run: Run, given: Tensor) -> Run:
        """Record the operations of `run` for inputs like `given`; return a function to replay them.

        The inputs of a replay are copied to an address of its own. Its results are copies too.
        """

    def finish_replays(self) -> None:
        """Wait until no replay uses the memory of a graph."""


class SimulatedRuntime:
    """A CPU in place of a GPU: copies are done at once, and functions run directly."""

    captures = False

    def check_process(self) -> None:
        """Do nothing: a CPU can be used in a forked process."""

    def free_memory(self) -> int | None:
        """Return None."""
        return None

    def describe_memory(self) -> str:
        """Return that the memory is not known."""
        return "its free memory is not known"

    def release_memory(self) -> None:
        """Do nothing."""

    def allocate_pinned(self, size: int) -> Tensor:
        """Return ordinary memory."""
        return torch.empty(size, dtype=torch.uint8, device="cpu")

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return ordinary memory."""
        return torch.empty(tuple(shape), dtype=dtype, device="cpu")

    def copy(self, target: Tensor, source: Tensor) -> Wait:
        """Copy at once."""
        target.copy_(source)
        return _already_done

    def receive(self, target: Tensor) -> None:
        """Do nothing."""

    def aside(self) -> AbstractContextManager[int]:
        """Return a block that changes nothing."""
        return nullcontext(0)

    def capture(self, run: Run, given: Tensor) -> Run:
        """Return the function itself."""
        return run

    def finish_replays(self) -> None:
        """Do nothing."""


class CudaRuntime:
    """One CUDA GPU, with a stream for copies and one for graphs."""

    captures = True

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._lock = ForkLock()
        self._owner: int | None = None  # process that initialized CUDA
        self._streams: tuple[torch.cuda.Stream, torch.cuda.Stream] | None = None
        self._idle: list[torch.cuda.Stream] = []  # streams for `aside`
        self._pool: Any = None  # memory that all graphs share

    def check_process(self) -> None:
        """Raise DeviceError in a process that was forked after CUDA was initialized."""
        check_process(self._owner)
        self._owner = os.getpid()

    def free_memory(self) -> int | None:
        """Return the bytes that are free on the GPU or in torch's cache."""
        free, _ = torch.cuda.mem_get_info(self.device)
        cached = torch.cuda.memory_reserved(self.device)
        return int(free + cached - torch.cuda.memory_allocated(self.device))

    def describe_memory(self) -> str:
        """Return the free and the total memory in GB."""
        free, total = torch.cuda.mem_get_info(self.device)
        return f"{free / GB:.1f} of {total / GB:.1f} GB are free"

    def release_memory(self) -> None:
        """Return torch's cache to the GPU."""
        torch.cuda.empty_cache()

    def allocate_pinned(self, size: int) -> Tensor:
        """Return page-locked memory."""
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return memory that belongs to the stream of copies."""
        with torch.cuda.stream(self._get_streams()[0]):
            return torch.empty(tuple(shape), dtype=dtype, device=self.device)

    def copy(self, target: Tensor, source: Tensor) -> Wait:
        """Copy on the stream of copies."""
        stream = self._get_streams()[0]
        with torch.cuda.stream(stream):
            target.copy_(source, non_blocking=True)
            done = torch.cuda.Event()
            done.record(stream)
        return done.synchronize

    def receive(self, target: Tensor) -> None:
        """Let the current stream wait, and keep the memory until it is done with it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._get_streams()[0])
        target.record_stream(current)

    @contextmanager
    def aside(self) -> Iterator[int]:
        """Run a block on a stream that no other thread uses.

        Streams are used again. torch caches memory for each, and makes 32: a further one would be
        that of copies or of graphs, which may be recording.
        """
        try:
            stream = self._idle.pop()
        except IndexError:
            stream = torch.cuda.Stream(self.device)
        try:
            with torch.cuda.stream(stream):
                try:
                    yield stream.cuda_stream
                finally:  # an error releases the memory of the block, too
                    stream.synchronize()
        finally:
            self._idle.append(stream)

    def capture(self, run: Run, given: Tensor) -> Run:
        """Capture a CUDA graph on the stream of graphs, on which all graphs are replayed in turn.

        The graphs share memory: a replay overwrites what the one before computed, except for its
        result, which is copied.
        """
        stream, device = self._get_streams()[1], self.device
        with torch.cuda.device(device):
            static = torch.empty_like(given)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                static.copy_(given)
                run(static)  # allocates the workspaces of libraries before the capture
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            with torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
            ):
                output = run(static)

        def replay(given: Tensor) -> Tensor:
            with torch.cuda.device(device):
                current = torch.cuda.current_stream()
                stream.wait_stream(current)
                with torch.cuda.stream(stream):
                    static.copy_(given, non_blocking=True)
                    graph.replay()
                    result = output.clone()
                current.wait_stream(stream)
                given.record_stream(stream)
                result.record_stream(current)
            return result

        return replay

    def finish_replays(self) -> None:
        """Wait for the stream of graphs."""
        self._get_streams()[1].synchronize()

    def _get_streams(self) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
        with self._lock:
            if self._streams is None:
                self._streams = torch.cuda.Stream(self.device), torch.cuda.Stream(self.device)
            return self._streams


def make_runtime(device: torch.device) -> Runtime:
    """Return the runtime of a device; every device but CUDA is simulated."""
    return CudaRuntime(device) if device.type == "cuda" else SimulatedRuntime()


def check_process(owner: int | None) -> None:
    """Raise DeviceError if this process was forked after `owner`, or another, initialized CUDA."""
    is_forked = owner is not None and owner != os.getpid()
    # torch also notices the use of CUDA by other code before the fork
    if is_forked or getattr(torch.cuda, "_is_in_bad_fork", bool)():
        parent = f"process {owner}" if is_forked else "its parent"
        raise DeviceError(
            f"CUDA cannot be used in process {os.getpid()}: it was forked after {parent} "
            f"initialized CUDA; {SPAWN}"
        )


def _already_done() -> None:
    pass
