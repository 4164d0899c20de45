"""Rows reach the device unchanged although few pinned buffers are reused."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.cuda.support import LateRuntime
from zeroshot.engine.cuda.runtime import make_runtime
from zeroshot.engine.cuda.staging import Staging


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    shape=st.sampled_from([(3, 2, 2), (7,), (3, 5, 4)]),
    slots=st.integers(1, 3),
    slot_bytes=st.integers(1, 200),
    dtype=st.sampled_from([np.uint8, np.float32, np.int64]),
)
def test_rows_arrive_unchanged_although_copies_are_late(
    counts: list[int], shape: tuple[int, ...], slots: int, slot_bytes: int, dtype: type
) -> None:
    staging, random = Staging(LateRuntime(), slots, slot_bytes), np.random.default_rng(1)
    for number, count in enumerate(counts):
        rows = random.integers(0, 100, (count, *shape)).astype(dtype)

        found = staging.upload(torch.from_numpy(rows) if number % 2 else list(rows))

        assert torch.equal(found, torch.from_numpy(rows))


def test_memory_of_the_ring_does_not_depend_on_the_batch() -> None:
    runtime = LateRuntime()
    staging = Staging(runtime, slots=3, slot_bytes=100)

    for count in (5, 500, 50):
        staging.upload([np.zeros((3, 4), np.uint8)] * count)

    assert runtime.pinned == 300


def test_nothing_is_allocated_before_the_first_upload() -> None:
    runtime = LateRuntime()
    Staging(runtime)

    assert runtime.pinned == 0


def test_row_larger_than_a_buffer_gets_a_larger_buffer() -> None:
    runtime = LateRuntime()
    row = np.arange(1000, dtype=np.float32)

    found = Staging(runtime, slots=1, slot_bytes=100).upload([row, row + 1])

    assert torch.equal(found, torch.from_numpy(np.stack([row, row + 1])))
    assert runtime.pinned == 4000


def test_tensor_with_strides_is_copied_in_its_order() -> None:
    rows = torch.arange(24.0).view(2, 3, 4).transpose(0, 1)

    assert torch.equal(Staging(LateRuntime(), slot_bytes=40).upload(rows), rows)


def test_buffer_returns_to_the_ring_after_an_error() -> None:
    class Failing(LateRuntime):
        def copy(self, target: torch.Tensor, source: torch.Tensor) -> object:  # type: ignore[override]
            raise RuntimeError("failed")

    staging = Staging(Failing(), slots=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="failed"):
            staging.upload([np.zeros(3)])


def test_threads_share_a_ring(device: torch.device) -> None:
    staging, wrong = Staging(make_runtime(device), slots=2, slot_bytes=64), []

    def work(number: int) -> None:
        for count in range(1, 40):
            rows = torch.full((count, 5), number * 100 + count)
            if not torch.equal(staging.upload(rows).cpu(), rows):
                wrong.append((number, count))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
