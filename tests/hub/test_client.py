"""Concurrent calls download once, and a killed download is completed by the next call."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub.mini_hub import CONFIG, NAME, REPOSITORY, WEIGHTS, MiniHub
from tests.hub.support import BOTH, FETCH, SETTING, environment
from zeroshot import hub
from zeroshot.hub import client
from zeroshot.hub.location import Location, location_of


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


# ---- one request


@pytest.fixture
def location(tiny_hub: MiniHub, cache: Path) -> Location:
    return location_of(REPOSITORY, None, cache, ())


def test_head_returns_what_is_published_without_a_download(
    tiny_hub: MiniHub, location: Location
) -> None:
    found = client.head(location, NAME)

    assert found.exists
    assert found.commit == tiny_hub.branches[REPOSITORY, "main"]
    assert found.etag == hashlib.sha256(WEIGHTS).hexdigest()
    assert found.size == len(WEIGHTS)
    assert tiny_hub.requests("GET") == []


def test_head_of_a_missing_file_knows_the_commit(tiny_hub: MiniHub, location: Location) -> None:
    found = client.head(location, "absent.bin")

    assert not found.exists
    assert found.commit == tiny_hub.branches[REPOSITORY, "main"]


def test_download_of_a_missing_file_is_none(location: Location) -> None:
    assert client.download(location, "absent.bin") is None


def test_impatient_request_is_not_retried(tiny_hub: MiniHub, location: Location) -> None:
    tiny_hub.fault("HEAD", "", status=503)

    with pytest.raises(hub.HubUnreachable):
        client.head(location, NAME, patient=False)

    assert len(tiny_hub.requests("HEAD", NAME)) == 1


def test_patient_request_is_tried_four_times(tiny_hub: MiniHub, location: Location) -> None:
    tiny_hub.fault("HEAD", "", status=503)

    with pytest.raises(hub.HubUnreachable):
        client.head(location, NAME)

    assert client.TRIES == 4
    assert len(tiny_hub.requests("HEAD", NAME)) >= client.TRIES


def test_cached_tells_present_absent_and_unknown(location: Location) -> None:
    pinned = replace(location, revision=client.head(location, NAME).commit)
    assert client.cached(pinned, NAME) is True  # unknown

    path = client.download(pinned, NAME)
    client.download(pinned, "absent.bin")

    assert client.cached(pinned, NAME) == path
    assert client.cached(pinned, "absent.bin") is False


def test_commit_of_a_branch_is_remembered(location: Location) -> None:
    assert client.cached_commit(location) is None

    client.store_commit(location, "5" * 40)

    assert client.cached_commit(location) == "5" * 40


@pytest.mark.parametrize("content", [b"", b"main", b"\xff" * 40, b"5" * 39])
def test_malformed_reference_counts_as_none(location: Location, content: bytes) -> None:
    client.store_commit(location, "5" * 40)
    (location.folder / "refs" / "main").write_bytes(content)

    assert client.cached_commit(location) is None


def test_wait_doubles_with_each_try_and_varies_by_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSE", 1.0)

    for attempt, longest in ((1, 1.5), (2, 3.0), (3, 6.0)):
        waits = [client.backoff(attempt) for _ in range(200)]
        assert longest / 3 <= min(waits) < max(waits) <= longest


def test_requests_name_this_package(tiny_hub: MiniHub, location: Location) -> None:
    client.head(location, NAME)

    assert all("zeroshot/" in request.agent for request in tiny_hub.log)
