"""Concurrent calls download once, and a killed download is completed by the next call."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.hub.mini_hub import CONFIG, NAME, REPOSITORY, WEIGHTS, MiniHub
from tests.hub.support import BOTH, FETCH, SETTING, environment
from zeroshot import hub


def test_eight_threads_download_once(tiny_hub: MiniHub) -> None:
    tiny_hub.fault("GET", NAME, slow=0.05)
    contents: list[bytes] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        contents.append(hub.fetch(REPOSITORY, BOTH).weights.read_bytes())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert contents == [WEIGHTS] * 8
    assert len(tiny_hub.requests("GET", NAME)) == 1


def test_four_processes_download_once(tiny_hub: MiniHub, tmp_path: Path) -> None:
    tiny_hub.fault("GET", NAME, slow=0.1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH],
            env=environment(tiny_hub, tmp_path / "home"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]

    answers = {process.communicate(timeout=60)[0].strip() for process in processes}

    (stored,) = {
        s.etag for t in tiny_hub.repositories[REPOSITORY].values() for s in t.values() if s.lfs
    }
    assert answers == {stored}
    assert len(tiny_hub.requests("GET", NAME)) == 1


@pytest.mark.parametrize("after", [1, 100_000, 299_000])
def test_killed_download_is_completed_by_the_next_call(
    mini: MiniHub, tmp_path: Path, after: int
) -> None:
    big = random.Random(after).randbytes(300_000)
    mini.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: big})
    stuck = mini.fault("GET", NAME, cut=after, stall=20)
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH],
        env=environment(mini, tmp_path / "home"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not mini.requests("GET", "/lfs/"):
        assert process.poll() is None
        time.sleep(0.01)
    threading.Event().wait(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stuck.times = 0

    found = hub.fetch(REPOSITORY, BOTH, cache_dir=tmp_path / "home" / "hub")

    assert found.weights.read_bytes() == big
