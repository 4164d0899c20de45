"""Locks of shards."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.bulk.jobs import run
from tests.bulk.support import save_images
from zeroshot.bulk import folder, lock
from zeroshot.bulk.folder import host, process_space, start_of
from zeroshot.bulk.lock import Lock, check_unlocked, is_dead
from zeroshot.bulk.shards import Shard
from zeroshot.errors import InputError, SaveError


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_lock_contains_host_and_process_and_is_removed(tmp_path: Path) -> None:
    with Lock(tmp_path, Shard(1, 4)):
        (path,) = tmp_path.iterdir()
        owner = json.loads(path.read_text())
        assert path.name == "_lock-2-of-4.json"
        assert (owner["host"], owner["pid"]) == (host(), os.getpid())

    assert list(tmp_path.iterdir()) == []


def test_no_lock_is_left_if_the_disk_fails_after_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folder, "sync_folder", fail)

    with pytest.raises(SaveError, match="Input/output error"):
        Lock(tmp_path, Shard()).__enter__()

    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_a_running_process_is_refused(tmp_path: Path) -> None:
    with Lock(tmp_path, Shard()):
        with (
            pytest.raises(InputError, match=f"process {os.getpid()} on ") as caught,
            Lock(tmp_path, Shard()),
        ):
            pass
        assert "shard='1/2'" in str(caught.value)
        with Lock(tmp_path, Shard(0, 2)):
            pass
        with pytest.raises(InputError, match="is writing to this folder"):
            check_unlocked(tmp_path)
    check_unlocked(tmp_path)


def test_a_lock_of_an_ended_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "_lock-1-of-1.json"
    path.write_text(json.dumps({"host": host(), "pid": ended_process()}))

    check_unlocked(tmp_path)
    with Lock(tmp_path, Shard()):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ['{"host": "elsewhere", "pid": 1}', "", "[]"])
def test_a_lock_of_another_host_is_taken_over_without_a_heartbeat(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "_lock-1-of-1.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is writing these parts"), Lock(tmp_path, Shard()):
        pass
    old = time.time() - lock.DEAD - 5
    os.utime(path, (old, old))

    with Lock(tmp_path, Shard()):
        assert json.loads(path.read_text())["host"] == host()


def test_the_heartbeat_refreshes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "REFRESH", 0.01)
    with Lock(tmp_path, Shard()) as held:
        os.utime(held.path, (1, 1))
        deadline = time.monotonic() + 5
        while held.path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.path.stat().st_mtime > 2


def test_of_many_threads_one_takes_a_dead_lock_over(tmp_path: Path) -> None:
    dead = json.dumps({"host": host(), "pid": ended_process()})
    holding, most, refused = [0], [0], [0]
    guard, start = threading.Lock(), threading.Barrier(8)

    def work() -> None:
        start.wait()
        try:
            with Lock(tmp_path, Shard()):
                with guard:
                    holding[0] += 1
                    most[0] = max(most[0], holding[0])
                time.sleep(0.02)
                with guard:
                    holding[0] -= 1
        except InputError:
            refused[0] += 1

    for _ in range(20):
        (tmp_path / "_lock-1-of-1.json").write_text(dead)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert most[0] == 1
    assert 1 <= refused[0] < 20 * 8
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_taken_over_after_a_process_died_taking_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "_lock-1-of-1.json"
    path.write_text(json.dumps({"host": host(), "pid": ended_process()}))
    killed = Lock(tmp_path, Shard())
    killed._owner |= {"pid": ended_process(), "start": None}

    with monkeypatch.context() as patch:
        patch.setattr(lock, "commit", lambda *_: pytest.fail("killed"))
        patch.setattr(killed, "_remove", lambda _: None)
        with pytest.raises(pytest.fail.Exception, match="killed"):
            killed.__enter__()
    assert len(list(tmp_path.iterdir())) == 2

    with Lock(tmp_path, Shard()):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_now_is_no_lock(tmp_path: Path) -> None:
    mine = {"host": host(), "pid": os.getpid(), "space": process_space()}
    if mine["space"] is None:
        pytest.skip("requires /proc")
    assert not is_dead({**mine, "start": start_of(os.getpid())}, age=0)
    (tmp_path / "_lock-1-of-1.json").write_text(json.dumps({**mine, "start": "1"}))

    with Lock(tmp_path, Shard()):
        pass


def test_a_process_of_another_container_with_this_host_name_is_not_taken_for_ended() -> None:
    owner = {"host": host(), "pid": ended_process(), "space": "another", "start": "1"}

    assert not is_dead(owner, age=1)
    assert is_dead(owner, age=1e9)


def test_locks_are_compared_with_the_clock_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_lock-1-of-2.json").write_text('{"host": "elsewhere", "pid": 1}')
    monkeypatch.setattr(lock.time, "time", lambda: 1e11)

    with pytest.raises(InputError, match="is writing to this folder"):
        check_unlocked(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_age_decides_only_for_other_hosts() -> None:
    assert not is_dead({"host": host(), "pid": os.getpid()}, age=1e9)
    assert is_dead({"host": "elsewhere", "pid": os.getpid()}, age=1e9)
    assert not is_dead({"host": "elsewhere", "pid": 1}, age=1)


def test_a_run_refuses_a_folder_that_another_one_writes(tmp_path: Path) -> None:
    images = save_images(tmp_path / "images", 3)
    (tmp_path / "out").mkdir()
    with Lock(tmp_path / "out", Shard()):
        for force in (False, True):
            with pytest.raises(InputError, match="is writing"):
                run(images, tmp_path / "out", force=force)
    assert run(images, tmp_path / "out").rows == 3
