"""A file is hashed once; a stamp remembers the result while the file is unchanged."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.hub.mini_hub import REPOSITORY, WEIGHTS, MiniHub
from tests.hub.support import BOTH
from zeroshot import files, hub
from zeroshot.hub import checksums


def test_unchanged_file_is_not_hashed_again(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub.fetch(REPOSITORY, BOTH).weights
    hashed: list[Path] = []
    sha256 = files.sha256
    monkeypatch.setattr(files, "sha256", lambda p: hashed.append(p) or sha256(p))

    hub.fetch(REPOSITORY, BOTH)
    assert hashed == []

    os.utime(path.resolve())
    hub.fetch(REPOSITORY, BOTH)
    assert hashed == [path]

    hub.fetch(REPOSITORY, BOTH)
    assert hashed == [path]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"size": 1}', b"\xff"])
def test_invalid_stamp_is_replaced(tiny_hub: MiniHub, cache: Path, content: bytes) -> None:
    hub.fetch(REPOSITORY, BOTH)
    (stamp,) = cache.glob("*/.zeroshot/*")
    stamp.write_bytes(content)

    assert hub.fetch(REPOSITORY, BOTH).weights.read_bytes() == WEIGHTS
    assert json.loads(stamp.read_text())["sha256"]


# ---- one file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    return path


HELLO = hashlib.sha256(b"hello\n").hexdigest()
GIT_HELLO = "ce013625030ba8dba906f756967f9e9ca394464a"  # of `git hash-object`
PLAIN_HELLO = hashlib.sha1(b"hello\n").hexdigest()


@pytest.mark.parametrize("expected", [HELLO, GIT_HELLO, PLAIN_HELLO], ids=["sha256", "git", "sha1"])
def test_file_with_the_expected_hash_has_no_difference(path: Path, expected: str) -> None:
    assert checksums.find_mismatch(path, expected) == ""


def test_difference_is_the_hash_of_the_same_kind(path: Path) -> None:
    assert checksums.find_mismatch(path, "7" * 64) == HELLO
    assert checksums.find_mismatch(path, "7" * 40) == GIT_HELLO


def test_without_an_expected_hash_the_stamp_decides(path: Path, tmp_path: Path) -> None:
    stamp = tmp_path / "stamps" / "file"
    assert checksums.find_mismatch(path, "", stamp) == ""
    assert json.loads(stamp.read_text())["sha256"] == HELLO

    path.write_bytes(b"other\n")

    assert checksums.find_mismatch(path, "", stamp) == hashlib.sha256(b"other\n").hexdigest()
    assert json.loads(stamp.read_text())["sha256"] == HELLO


def test_stamp_of_another_hash_is_not_believed(path: Path, tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    checksums.find_mismatch(path, HELLO, stamp)

    assert checksums.find_mismatch(path, "7" * 64, stamp) == HELLO


def test_stamp_that_cannot_be_written_is_no_error(path: Path) -> None:
    assert checksums.find_mismatch(path, HELLO, path / "no" / "folder") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a" * 64, True), ("0" * 40, True), ("A" * 64, False), ("a" * 63, False), ("", False)],
)
def test_hash_is_sha256_or_sha1_in_lower_case(text: str, expected: bool) -> None:
    assert checksums.is_hash(text) is expected


def test_published_name_is_that_of_the_blob(path: Path, tmp_path: Path) -> None:
    blob = tmp_path / HELLO
    path.rename(blob)
    (tmp_path / "link").symlink_to(blob)
    (tmp_path / "other").symlink_to(tmp_path / "somewhere")

    assert checksums.published_name(tmp_path / "link") == HELLO
    assert checksums.published_name(tmp_path / "other") == ""
    assert checksums.published_name(blob) == ""


def test_removal_removes_link_and_blob(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)

    assert checksums.remove(link)
    assert not path.exists()
    assert not link.is_symlink()
    assert checksums.remove(link)  # already gone
