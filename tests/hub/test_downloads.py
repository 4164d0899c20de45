"""Downloads are verified, corrupted files are replaced, and cache errors name the folder."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest
from huggingface_hub import file_download

from tests.hub.mini_hub import CONFIG, NAME, REPOSITORY, WEIGHTS, MiniHub
from tests.hub.support import BOTH, SETTING, make_read_only, spoil
from zeroshot import errors, hub
from zeroshot.hub import checksums


def test_unexpected_published_hash_is_an_error_before_the_download(
    tiny_hub: MiniHub,
) -> None:
    with pytest.raises(errors.ChecksumError) as caught:
        hub.fetch(REPOSITORY, BOTH, sha256={NAME: "7" * 64})

    assert caught.value.expected == "7" * 64
    assert caught.value.expected in str(caught.value)
    assert caught.value.found in str(caught.value)
    assert tiny_hub.requests("GET", "/lfs/") == []


def test_cached_file_with_another_hash_is_rejected_and_kept(
    tiny_hub: MiniHub,
) -> None:
    path = hub.fetch(REPOSITORY, BOTH).weights

    with pytest.raises(errors.ChecksumError, match="run `zeroshot lock` again"):
        hub.fetch(REPOSITORY, BOTH, sha256={NAME: "7" * 64})

    assert path.read_bytes() == WEIGHTS


def test_corrupted_cached_file_is_downloaded_again(
    tiny_hub: MiniHub, caplog: pytest.LogCaptureFixture
) -> None:
    found = hub.fetch(REPOSITORY, BOTH)
    for name in BOTH:
        spoil(found.files[name])

    again = hub.fetch(REPOSITORY, BOTH, revision=found.commit)

    assert (again.files[SETTING].read_bytes(), again.weights.read_bytes()) == (CONFIG, WEIGHTS)
    assert sum("downloading it again" in record.message for record in caplog.records) == 2


def test_corrupted_cached_file_is_removed_in_offline_mode(tiny_hub: MiniHub) -> None:
    path = hub.fetch(REPOSITORY, BOTH).weights
    blob = path.resolve()
    spoil(path)

    with pytest.raises(errors.ChecksumError, match="was removed from the cache"):
        hub.fetch(REPOSITORY, BOTH, offline=True)

    assert not path.exists()
    assert not blob.exists()


def test_cache_without_symlinks_is_verified(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_: False)
    tiny_hub.fault("GET", NAME, flip=1000, times=1)

    path = hub.fetch(REPOSITORY, BOTH).weights
    assert not path.is_symlink()
    assert path.read_bytes() == WEIGHTS

    spoil(path)
    with pytest.raises(errors.ChecksumError):
        hub.fetch(REPOSITORY, BOTH, offline=True)


def test_missing_published_hash_logs_a_warning(
    tiny_hub: MiniHub, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_hub.fault("HEAD", NAME, headers={"X-Linked-Etag": '"abc"'})

    hub.fetch(REPOSITORY, BOTH)

    assert "cannot be verified" in caplog.text


def test_insufficient_disk_space_is_an_error_before_the_download(
    tiny_hub: MiniHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 299_999))

    with pytest.raises(errors.CacheError) as caught:
        hub.fetch(REPOSITORY, BOTH)

    for word in (str(cache), "0.3 MB", "HF_HOME", "cache_dir"):
        assert word in str(caught.value)
    assert tiny_hub.requests("GET", NAME) == []


def test_disk_that_fills_up_during_the_download_is_a_cache_error(
    tiny_hub: MiniHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", full)
        with pytest.raises(errors.CacheError, match=r"the disk is full .* HF_HOME"):
            hub.fetch(REPOSITORY, BOTH)

    assert hub.fetch(REPOSITORY, BOTH).weights.read_bytes() == WEIGHTS


def test_read_only_cache_serves_cached_files_and_names_what_it_cannot_store(
    tiny_hub: MiniHub, cache: Path
) -> None:
    files = {SETTING: CONFIG, "README.md": b"not yet fetched"}
    tiny_hub.add(REPOSITORY, files, lfs={NAME: WEIGHTS})
    hub.fetch(REPOSITORY, BOTH)
    (stamp,) = cache.glob("*/.zeroshot/*")
    stamp.unlink()  # as if another library had filled the cache

    with pytest.MonkeyPatch.context() as patch:
        make_read_only(patch, cache)
        for offline in (False, True):
            found = hub.fetch(REPOSITORY, BOTH, offline=offline)
            assert found.weights.read_bytes() == WEIGHTS
        with pytest.raises(errors.CacheError) as caught:
            hub.fetch(REPOSITORY, ["README.md"])

    assert not stamp.exists()
    for word in (str(cache), "cannot write to the cache", "HF_HOME", "cache_dir"):
        assert word in str(caught.value)


def test_cache_folder_that_cannot_be_created_is_a_cache_error(
    tiny_hub: MiniHub, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(errors.CacheError, match="HF_HOME"):
        hub.fetch(REPOSITORY, BOTH, cache_dir=tmp_path / "file" / "cache")


def test_unreadable_cached_file_is_a_cache_error(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch(REPOSITORY, BOTH)

    def forbidden(path: Path, *_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checksums, "find_mismatch", forbidden)

    with pytest.raises(errors.CacheError, match=r"cannot read this file .* HF_HOME"):
        hub.fetch(REPOSITORY, BOTH)


def test_partial_downloads_older_than_a_day_are_removed(tiny_hub: MiniHub, cache: Path) -> None:
    blobs = cache / "models--owner--tiny" / "blobs"
    blobs.mkdir(parents=True)
    other = cache / "models--owner--other" / "blobs" / "x.incomplete"
    other.parent.mkdir(parents=True)
    old, young = blobs / "1.aa.incomplete", blobs / "2.bb.incomplete"
    for path, age in ((old, 25), (young, 23), (other, 25)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age * 3600,) * 2)

    hub.fetch(REPOSITORY, BOTH)

    assert [path.exists() for path in (old, young, other)] == [False, True, True]
