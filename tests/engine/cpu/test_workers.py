"""Workers use one thread each, keep order, and survive forks and the garbage collector."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch

from zeroshot.engine.cpu import workers


@pytest.mark.skipif(torch.get_num_threads() < 2, reason="requires two threads")
def test_worker_uses_one_thread() -> None:
    def threads_used(_: int) -> int:
        torch.zeros(1000, 1000).bfloat16()  # large enough for torch to divide it
        return torch.get_num_threads()

    assert set(workers.run(threads_used, range(20))) == {1}


def test_results_keep_their_order_and_errors_are_raised() -> None:
    def work(n: int) -> int:
        if n == 70:
            raise KeyError(n)
        return n * n

    assert workers.run(work, range(50)) == [n * n for n in range(50)]
    with pytest.raises(KeyError, match="70"):
        workers.run(work, range(100))


def test_work_runs_in_the_calling_thread_if_none_can_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "_pool", None)
    monkeypatch.setattr(threading.Thread, "start", refused)

    assert workers.run(lambda n: n + 1, [1, 2, 3]) == [2, 3, 4]


FORKED = """
import os, sys, zeroshot
model = zeroshot.load(sys.argv[1], dtype="float32")
if sys.argv[2] == "after":
    model.encode_text(["a", "b"]); model.encode_image([sys.argv[3]] * 20)
stream = model.classifier(["a", "b"]).stream([sys.argv[3]] * 200)
next(stream)
child = os.fork()
if child == 0:
    model.encode_text("c"); model.encode_image(sys.argv[3]); model.encode_image([sys.argv[3]] * 20)
    stream.close()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="requires os.fork")
@pytest.mark.parametrize("when", ["before", "after"])
def test_forked_child_computes_and_exits(tiny_path: Path, photos: list[Path], when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tiny_path), when, str(photos[0])], timeout=60
    )

    assert done.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="requires os.fork")
def test_no_task_runs_during_a_fork() -> None:
    # oneDNN's locks, which a task may hold, would stay locked in the child
    pool = workers.get_pool()
    assert pool is not None
    running, events = threading.Event(), []

    def work(name: str) -> None:
        running.set()
        time.sleep(0.2)
        events.append(name)

    first = pool.submit(work, "first")
    running.wait()
    workers._gate.close()
    second = pool.submit(work, "second")
    assert first.done()
    time.sleep(0.1)
    assert events == ["first"]
    workers._gate.open()
    second.result(timeout=10)
    assert events == ["first", "second"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="requires os.fork")
def test_a_task_may_fork() -> None:
    pool = workers.get_pool()
    assert pool is not None

    def fork() -> int:
        child = os.fork()
        if child == 0:
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, for threads
        assert pool.submit(fork).result(timeout=10) == 0
    assert time.monotonic() - start < workers.FORK_SECONDS


COLLECTED = """
import gc, sys, zeroshot
model = zeroshot.load(sys.argv[1], dtype="float32")
classifier = model.classifier(["a", "b"])
class Holder:
    def __init__(self, workers):
        self.stream, self.me = classifier.stream([sys.argv[2]] * 500, workers=workers), self
def collect(n):
    gc.collect()
    return n
from zeroshot.engine.cpu import workers
for threads in (None, 2):
    for _ in range(3):
        holder = Holder(threads)
        next(holder.stream)
        del holder
        workers.run(collect, range(8))  # the collector closes the stream in a worker
print(len(model.encode_image([sys.argv[2]] * 20)))
"""


def test_stream_closed_by_the_garbage_collector_in_a_worker_does_not_hang(
    tiny_path: Path, photos: list[Path]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, str(tiny_path), str(photos[0])],
        timeout=90,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr
