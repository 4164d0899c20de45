"""The operations of a device: the simulated one, and the process that may use CUDA."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from zeroshot.engine.cuda import runtime as module
from zeroshot.engine.cuda.runtime import (
    CudaRuntime,
    SimulatedRuntime,
    check_process,
    make_runtime,
)
from zeroshot.errors import DeviceError


def test_only_cuda_is_not_simulated() -> None:
    assert type(make_runtime(torch.device("cuda:1"))) is CudaRuntime
    assert type(make_runtime(torch.device("cpu"))) is SimulatedRuntime
    assert type(make_runtime(torch.device("mps"))) is SimulatedRuntime


def test_making_a_runtime_does_not_initialize_cuda() -> None:
    make_runtime(torch.device("cuda"))

    assert torch.cuda.is_available() or not torch.cuda.is_initialized()


def test_copies_reach_their_target(device: torch.device) -> None:
    runtime = make_runtime(device)
    source = runtime.allocate_pinned(24)
    source.copy_(torch.arange(24))
    target = runtime.allocate((2, 3), torch.float32)

    runtime.copy(target, source.view(torch.float32).view(2, 3))()
    runtime.receive(target)

    assert target.device.type == device.type
    assert torch.equal(target.cpu().view(torch.uint8).flatten(), torch.arange(24).to(torch.uint8))


def test_replays_compute_the_function_of_their_own_input(device: torch.device) -> None:
    runtime = make_runtime(device)
    inputs = [torch.rand(4, 3, device=device) for _ in range(3)]

    replay = runtime.capture(lambda given: given.exp() @ given.T, inputs[0])
    results = [replay(given) for given in inputs]

    for given, result in zip(inputs, results, strict=True):
        assert torch.allclose(result, given.exp() @ given.T)


def test_free_memory_is_a_number_of_bytes_or_not_known(device: torch.device) -> None:
    free = make_runtime(device).free_memory()

    assert (free is None) == (device.type == "cpu")
    assert free is None or free > 0
    assert "free" in make_runtime(device).describe_memory()


def test_this_process_may_use_cuda() -> None:
    check_process(None)
    check_process(os.getpid())


def test_forked_process_gets_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DeviceError) as caught:
        check_process(os.getpid() + 1)

    message = str(caught.value)
    assert f"after process {os.getpid() + 1} initialized CUDA" in message
    assert "load the model in the child process" in message
    assert "get_context('spawn')" in message
    assert len(message) < 600


def test_fork_after_other_code_used_cuda_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)

    with pytest.raises(DeviceError, match="forked after its parent initialized CUDA"):
        check_process(None)


def test_torch_without_a_flag_for_forks_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cuda, "_is_in_bad_fork")

    check_process(None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python warns of forks with threads")
def test_runtime_belongs_to_the_process_that_used_it_first() -> None:
    runtime = CudaRuntime(torch.device("cuda"))
    runtime.check_process()

    child = os.fork()
    if child == 0:
        try:
            runtime.check_process()
        except DeviceError:
            os._exit(7)
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_simulated_device_may_be_used_after_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "getpid", lambda: 1)

    SimulatedRuntime().check_process()


class FakeCuda:
    """Replaces torch.cuda by objects that log what is done on which stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.stream = self.Stream("current")
        names = iter(["copies", "graphs", "aside", "another"])
        cuda = torch.cuda
        for name, value in {
            "Stream": lambda device: self.Stream(next(names), self.log),
            "current_stream": lambda device=None: self.stream,
            "stream": self.on,
            "device": lambda device: nullcontext(),
            "Event": lambda: SimpleNamespace(
                record=lambda stream: self.log.append(f"event on {stream.name}"),
                synchronize=lambda: self.log.append("event waited"),
            ),
            "CUDAGraph": lambda: SimpleNamespace(
                replay=lambda: self.log.append(f"replay on {self.stream.name}")
            ),
            "graph": self.graph,
            "graph_pool_handle": lambda: (0, 1),
        }.items():
            monkeypatch.setattr(cuda, name, value)
        self.stream.log = self.log
        monkeypatch.setattr(
            torch.Tensor,
            "record_stream",
            lambda tensor, stream: self.log.append(f"kept for {stream.name}"),
        )

    class Stream:
        def __init__(self, name: str, log: list[str] | None = None) -> None:
            self.name, self.log = name, [] if log is None else log
            self.cuda_stream = id(self)

        def wait_stream(self, other: FakeCuda.Stream) -> None:
            self.log.append(f"{self.name} waits for {other.name}")

        def synchronize(self) -> None:
            self.log.append(f"{self.name} synchronized")

    @contextmanager
    def on(self, stream: FakeCuda.Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def graph(self, graph: object, **options: object) -> Iterator[None]:
        assert set(options) == {"pool", "stream", "capture_error_mode"}
        self.log.append("capture")
        yield


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def test_copy_runs_on_its_own_stream_and_the_reader_waits(fake: FakeCuda) -> None:
    runtime = CudaRuntime(torch.device("cpu"))
    target, source = runtime.allocate((4,), torch.uint8), torch.arange(4, dtype=torch.uint8)

    wait = runtime.copy(target, source)
    runtime.receive(target)
    wait()

    assert torch.equal(target, source)
    assert fake.log == [
        "event on copies",
        "current waits for copies",
        "kept for current",
        "event waited",
    ]


def test_graph_is_replayed_between_waits_of_both_streams(fake: FakeCuda) -> None:
    runtime, seen = CudaRuntime(torch.device("cpu")), []

    def run(given: torch.Tensor) -> torch.Tensor:
        seen.append((fake.stream.name, given.data_ptr()))
        return given

    given, other = torch.rand(3), torch.rand(3)
    replay = runtime.capture(run, given)
    captured = fake.log.copy()
    fake.log.clear()
    result = replay(other)
    runtime.finish_replays()

    assert torch.equal(result, other)
    assert seen[0][0] == "graphs"  # the warm-up
    assert seen[0][1] == seen[1][1] != given.data_ptr()  # the input of the graph
    assert captured == ["graphs waits for current", "graphs synchronized", "capture"]
    assert fake.log == [
        "graphs waits for current",
        "replay on graphs",
        "current waits for graphs",
        "kept for graphs",
        "kept for current",
        "graphs synchronized",
    ]


def test_work_aside_is_waited_for_even_if_it_fails(fake: FakeCuda) -> None:
    runtime = CudaRuntime(torch.device("cpu"))
    runtime.finish_replays()
    fake.log.clear()

    def fail() -> None:
        with runtime.aside():
            fake.log.append(f"work on {fake.stream.name}")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert fake.log == ["work on aside", "aside synchronized"]
    assert fake.stream.name == "current"


def test_streams_of_threads_that_ended_are_used_again(fake: FakeCuda) -> None:
    runtime = CudaRuntime(torch.device("cpu"))
    runtime.finish_replays()
    seen: list[str] = []

    def work() -> None:
        with runtime.aside():
            seen.append(fake.stream.name)

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    with runtime.aside() as first, runtime.aside() as second:
        assert first != second

    assert seen == ["aside"] * 3
