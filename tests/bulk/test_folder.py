"""Files of an output folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zeroshot.bulk import folder
from zeroshot.bulk.folder import (
    PROCESS,
    check_name,
    commit,
    commit_first,
    find_ours,
    host,
    is_alive,
    parse_part,
    part_name,
    remove_claim,
    remove_strays,
)
from zeroshot.errors import InputError, SaveError


def test_the_name_of_a_part_contains_source_and_chunk() -> None:
    assert part_name(0, 12, "parquet") == "part-00000-000012.parquet"
    assert parse_part("part-00000-000012.parquet") == (0, 12, "parquet")
    assert parse_part("part-123456-1234567.csv") == (123456, 1234567, "csv")
    assert parse_part(".part-00000-000012.parquet.host.7") is None


def test_a_file_appears_with_its_content_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "part-00000-000000.csv"

    def fail(path: Path) -> None:
        path.write_text("half")
        assert not file.exists()
        assert path.name.startswith(f".{file.name}.{PROCESS}-")
        assert path.name.endswith(f".{host()}.{os.getpid()}")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        commit(file, fail)
    assert list(tmp_path.iterdir()) == []
    commit(file, lambda path: path.write_text("whole"))
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_or_broken_disk_is_a_save_error_without_a_stray_file(
    code: int, tmp_path: Path
) -> None:
    def fill(path: Path) -> None:
        path.write_text("half")
        raise OSError(code, os.strerror(code))

    with pytest.raises(SaveError, match="finished parts are kept") as caught:
        commit(tmp_path / "part", fill)
    assert os.strerror(code) in str(caught.value)
    assert caught.value.source == str(tmp_path / "part")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_file_system_after_the_write_is_a_save_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folder.os, "fsync", fail)

    with pytest.raises(SaveError):
        commit(tmp_path / "part", lambda path: path.write_text("x"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_synchronized_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail_for_folders(descriptor: int) -> None:
        calls.append(descriptor)
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(folder.os, "fsync", fail_for_folders)
    commit(tmp_path / "part", lambda path: path.write_text("x"))

    assert len(calls) == 2


def test_of_several_processes_the_first_writes_a_file(tmp_path: Path) -> None:
    assert commit_first(tmp_path / "_run.json", lambda path: path.write_text("1"))
    assert not commit_first(tmp_path / "_run.json", lambda path: path.write_text("2"))
    assert (tmp_path / "_run.json").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["_run.json"]


def test_a_file_system_without_hard_links_is_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(folder.os, "link", refuse)

    assert commit_first(tmp_path / "_run.json", lambda path: path.write_text("1"))
    assert not commit_first(tmp_path / "_run.json", lambda path: path.write_text("2"))
    assert (tmp_path / "_run.json").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["_run.json"]


def test_a_name_without_content_of_a_killed_process_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "CLAIM_SECONDS", 0.1)
    file = tmp_path / "_run.json"
    remove_claim(file)
    file.write_text("1")
    remove_claim(file)
    assert file.read_text() == "1"
    file.write_text("")
    remove_claim(file)
    assert not file.exists()


def test_threads_write_one_file_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        for _ in range(20):
            commit(tmp_path / "_SUCCESS.json", lambda path: path.write_text(str(number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert [path.name for path in tmp_path.iterdir()] == ["_SUCCESS.json"]


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_only_temporary_files_of_ended_processes_of_this_host_are_removed(tmp_path: Path) -> None:
    dead, alive = ended_process(), os.getpid()
    stray = [
        f".part-00000-000001.csv.{host()}.{dead}",
        f".part-00000-000002.csv.{'0' * 8}-1.{host()}.{alive}",  # of a process with our number
        f".part-00000-000003.csv.{'0' * 8}-1.{host()}.{dead}",
    ]
    kept = [
        f".part-00000-000004.csv.{PROCESS}-1.{host()}.{alive}",
        f".part-00000-000000.csv.{host()}.{alive}",
        f".part-00000-000000.csv.other.{dead}",
        f".notes.{host()}.{dead}",
        "part-00000-000000.csv",
    ]
    for name in [*stray, *kept]:
        (tmp_path / name).touch()

    assert remove_strays(tmp_path) == stray
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert is_alive(alive)
    assert not is_alive(dead)


def test_files_of_a_run_are_distinguished_from_others(tmp_path: Path) -> None:
    others = ["cat.jpg", "part-1.csv", "run.json", "_notes.txt", "_inputs-mine.csv", "_lock.txt"]
    others += ["_end-notes.md", "part-00000-000000.txt"]
    ours = [
        "_SUCCESS.json",
        f"_inputs-00000-{'a' * 16}.parquet",
        "part-00000-000000.csv",
        "_run.json",
    ]
    for name in [*ours, *others]:
        (tmp_path / name).touch()

    assert [path.name for path in find_ours(tmp_path)] == ours


@pytest.mark.parametrize("name", ["labels.csv", "labels.PARQUET", "a/labels.jsonl"])
def test_the_name_of_a_file_is_refused_for_a_folder(name: str, tmp_path: Path) -> None:
    file = tmp_path / name

    with pytest.raises(InputError, match=r"must be a folder.* `zeroshot merge labels labels"):
        check_name(file)
    file.mkdir(parents=True)  # a table of an earlier version
    check_name(file)
    check_name(tmp_path / "labels.2026")
