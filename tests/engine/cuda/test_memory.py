"""Batches fit in the free memory; when it runs out, they are halved, and that is remembered."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.cuda.support import SmallRuntime
from zeroshot.engine.cuda.memory import Limit, count_that_fit
from zeroshot.errors import DeviceError


def test_number_of_inputs_depends_on_the_free_memory_and_is_bounded() -> None:
    assert count_that_fit(None, 10**6, 32) == 32
    assert count_that_fit(40 * 10**6, 10**6, 256) == 10
    assert count_that_fit(40 * 10**9, 10**6, 256) == 256
    assert count_that_fit(0, 10**6, 256) == 1


def worker(capacity: int, tried: list[int]) -> object:
    """Return a function that runs out of memory for more than `capacity` inputs."""

    def work(part: slice) -> torch.Tensor:
        size = part.stop - part.start
        tried.append(size)
        if size > capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.arange(part.start, part.stop)

    return work


@given(
    count=st.integers(0, 100),
    capacity=st.integers(1, 50),
    most=st.integers(1, 60),
    batch_size=st.none() | st.integers(1, 60),
)
def test_all_inputs_run_once_in_order_whatever_fits(
    count: int, capacity: int, most: int, batch_size: int | None
) -> None:
    limit, tried = Limit(SmallRuntime(), most, "image"), []
    work = worker(capacity, tried)

    def run(part: slice) -> torch.Tensor:
        return work(slice(part.start, min(part.stop, count)))  # type: ignore[operator]

    found = torch.cat(limit.run(count, batch_size, run))

    assert found.tolist() == list(range(count))
    assert max(tried) <= min(most, batch_size or most)
    assert limit.most == most or limit.most <= capacity or limit.most < most


def test_smaller_batch_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    runtime = SmallRuntime()
    limit, tried = Limit(runtime, 64, "image"), []

    with caplog.at_level(logging.WARNING, "zeroshot"):
        limit.run(64, None, worker(20, tried))  # type: ignore[arg-type]
        limit.run(32, None, worker(20, tried))  # type: ignore[arg-type]

    assert tried == [64, 32, 16, 16, 16, 16, 16, 16]
    assert limit.most == 16
    assert runtime.released == 2
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory: 32 images run at once from now on",
        "out of memory: 16 images run at once from now on",
    ]


def test_batch_of_one_that_does_not_fit_is_an_error_with_the_numbers() -> None:
    limit, tried = Limit(SmallRuntime(), 4, "text"), []

    with pytest.raises(DeviceError) as caught:
        limit.run(9, None, worker(0, tried))  # type: ignore[arg-type]

    assert tried == [4, 2, 1]
    assert "batch of 1 text; 0.1 of 16.0 GB are free" in str(caught.value)
    assert "device='cpu'" in str(caught.value)


def test_other_errors_pass() -> None:
    def work(part: slice) -> torch.Tensor:
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        Limit(SmallRuntime(), 4, "image").run(9, None, work)
