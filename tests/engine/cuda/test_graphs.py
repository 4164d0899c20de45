"""Graphs are captured after a warm-up, replayed with their own input, and limited in number."""

from __future__ import annotations

import threading

import pytest
import torch

from tests.engine.cuda.support import GraphRuntime
from zeroshot.engine.cuda import graphs
from zeroshot.engine.cuda.graphs import LARGEST, WARM_UP, Graphs
from zeroshot.engine.cuda.runtime import SimulatedRuntime, make_runtime


def double(given: torch.Tensor) -> torch.Tensor:
    return 2 * given


def test_shape_is_captured_only_after_the_warm_up() -> None:
    runtime = GraphRuntime()
    kept = Graphs(runtime)

    for call in range(WARM_UP + 3):
        given = torch.full((4, 2), float(call))
        assert torch.equal(kept.run("double", double, given), 2 * given)

    assert runtime.captured == [(4, 2)]
    assert len(runtime.replayed) == 3


def test_input_address_of_a_graph_does_not_change() -> None:
    runtime = GraphRuntime()
    kept = Graphs(runtime)
    inputs = [torch.rand(4, 2) for _ in range(9)]

    for given in inputs:
        assert torch.equal(kept.run("double", double, given), 2 * given)

    assert len(set(runtime.replayed)) == 1
    assert runtime.replayed[0] not in [given.data_ptr() for given in inputs]


def test_result_stays_valid_after_the_next_replay() -> None:
    kept = Graphs(GraphRuntime())
    inputs = [torch.rand(4, 2) for _ in range(9)]

    results = [kept.run("same", lambda given: given, each) for each in inputs]

    assert all(torch.equal(result, given) for result, given in zip(results, inputs, strict=True))


def test_name_shape_and_dtype_have_graphs_of_their_own() -> None:
    runtime = GraphRuntime()
    kept = Graphs(runtime)
    kinds = [
        ("double", double, torch.rand(4, 2)),
        ("half", lambda given: given / 2, torch.rand(4, 2)),
        ("double", double, torch.rand(3, 2)),
        ("double", double, torch.rand(4, 2, dtype=torch.float64)),
    ]

    for _ in range(WARM_UP + 2):
        for name, function, given in kinds:
            assert torch.equal(kept.run(name, function, given), function(given))

    assert len(runtime.captured) == 4


def test_least_recently_used_graph_is_dropped_after_its_replays() -> None:
    runtime = GraphRuntime()
    kept = Graphs(runtime, most=2)

    for count in (1, 2, 1, 3, 1, 2):
        for _ in range(WARM_UP + 1):
            kept.run("double", double, torch.rand(count, 2))

    assert [shape[0] for shape in runtime.captured] == [1, 2, 3, 2]
    assert len(kept._replays) == 2
    assert runtime.waits == 2


def test_number_of_counted_shapes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "COUNTED", 5)
    kept = Graphs(GraphRuntime())

    for length in range(1, 50):
        kept.run("double", double, torch.rand(1, length))

    assert len(kept._calls) == 5


def test_large_and_empty_batches_run_directly() -> None:
    runtime = GraphRuntime()
    kept = Graphs(runtime)

    for _ in range(WARM_UP + 2):
        kept.run("double", double, torch.rand(LARGEST + 1, 2))
        kept.run("double", double, torch.rand(0, 2))

    assert runtime.captured == []


@pytest.mark.parametrize(
    "error", [RuntimeError("operation not permitted"), torch.OutOfMemoryError("none left")]
)
def test_function_that_cannot_be_captured_runs_directly(error: Exception) -> None:
    runtime = GraphRuntime(error)
    kept = Graphs(runtime)

    for call in range(WARM_UP + 3):
        given = torch.full((4, 2), float(call))
        assert torch.equal(kept.run("double", double, given), 2 * given)

    assert len(runtime.captured) == 1  # not tried again


def test_simulated_device_runs_directly() -> None:
    kept = Graphs(SimulatedRuntime())

    for _ in range(WARM_UP + 2):
        kept.run("double", double, torch.rand(2))

    assert not kept._replays
    assert not kept._calls


def test_threads_get_their_own_results(device: torch.device) -> None:
    runtime = GraphRuntime() if device.type == "cpu" else make_runtime(device)
    kept, wrong = Graphs(runtime), []

    def work(number: int) -> None:
        for call in range(30):
            given = torch.full((4, 2), float(100 * number + call), device=device)
            if not torch.equal(kept.run("double", double, given), 2 * given):
                wrong.append((number, call))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
