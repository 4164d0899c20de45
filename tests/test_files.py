"""Files are written completely or not at all, and hashed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zeroshot.errors import IncompatibleWeights, OfflineError, SaveError
from zeroshot.files import format_bytes, git_sha1, sha256, write_atomically


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that exists."""
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_file_is_written(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "new.bin") as temporary:
        temporary.write_bytes(b"content")
        assert not (tmp_path / "new.bin").exists()

    assert (tmp_path / "new.bin").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["new.bin"]


def test_the_path_can_be_a_string(target: Path) -> None:
    with write_atomically(str(target)) as temporary:
        temporary.write_bytes(b"new")

    assert target.read_bytes() == b"new"


def test_the_old_file_is_readable_until_the_new_one_is_complete(target: Path) -> None:
    with write_atomically(target) as temporary:
        temporary.write_bytes(b"half")
        assert target.read_bytes() == b"old"
        assert temporary.parent == target.parent  # os.replace needs the same file system

    assert target.read_bytes() == b"half"


def test_concurrent_writers_of_one_path_leave_one_complete_file(target: Path) -> None:
    contents = [bytes([n]) * 200_000 for n in range(16)]
    together = threading.Barrier(len(contents), timeout=20)
    failed: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            together.wait()
            for _ in range(5):
                with write_atomically(target) as temporary:
                    temporary.write_bytes(content)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert target.read_bytes() in contents
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), OSError(28, "full")])
def test_an_error_keeps_the_old_file_and_removes_the_temporary_one(
    error: BaseException, target: Path
) -> None:
    def write() -> None:
        with write_atomically(target) as temporary:
            temporary.write_bytes(b"half of the new con")
            raise error

    with pytest.raises(type(error)):
        write()

    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == [target.name]


def test_a_failed_replace_keeps_the_old_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: object, destination: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(os, "replace", fail)

    with pytest.raises(SaveError) as caught, write_atomically(target) as temporary:
        temporary.write_bytes(b"new")

    assert caught.value.source == str(target)
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)], indirect=["umask"]
)
def test_the_mode_follows_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "new.bin"

    with write_atomically(path) as temporary:
        temporary.unlink()  # as writers do that create a private file of their own
        temporary.touch(mode=0o600)

    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("facts", [(errno.ENOSPC, "No space left on device"), ("full",)])
@pytest.mark.parametrize("where", ["target", "temporary", "nowhere"])
def test_an_os_error_names_the_target(where: str, facts: tuple[Any, ...], target: Path) -> None:
    def write() -> None:
        with write_atomically(target) as temporary:
            names = {"target": [str(target)], "temporary": [str(temporary)], "nowhere": []}
            raise OSError(*facts, *(names[where] if len(facts) == 2 else []))

    with pytest.raises(SaveError) as caught:
        write()

    expected = f"{target}: cannot write the file ({facts[-1]}); check its folder, the permissions "
    assert str(caught.value).startswith(expected)
    assert isinstance(caught.value.__cause__, OSError)


def test_an_os_error_of_another_file_is_not_converted(target: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, write_atomically(target):
        Path("missing").read_bytes()

    assert not isinstance(caught.value, SaveError)


@pytest.mark.parametrize("error", [OfflineError("offline"), IncompatibleWeights("NaN")])
def test_errors_of_the_package_are_not_converted(error: Exception, target: Path) -> None:
    with pytest.raises(type(error)) as caught, write_atomically(target):
        raise error

    assert caught.value is error


def test_a_missing_folder_is_reported_with_the_target(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "data.bin"

    with pytest.raises(SaveError, match="no such folder") as caught, write_atomically(path):
        pytest.fail("the block must not run")

    assert caught.value.source == str(path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"x" * (3 * 2**20 + 1)])
def test_hashes_equal_those_of_hashlib_and_git(content: bytes, target: Path) -> None:
    target.write_bytes(content)

    git, plain = git_sha1(target)

    assert sha256(target) == hashlib.sha256(content).hexdigest()
    assert plain == hashlib.sha1(content).hexdigest()
    assert git == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_the_git_hash_equals_the_output_of_git(target: Path) -> None:
    target.write_bytes(b"hello\n")

    assert git_sha1(target)[0] == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


def test_a_link_keeps_pointing_to_the_file_that_is_written(tmp_path: Path, target: Path) -> None:
    link = tmp_path / "link.bin"
    link.symlink_to(target)

    with write_atomically(link) as temporary:
        temporary.write_bytes(b"new")

    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_replaced_file_keeps_its_mode(target: Path) -> None:
    target.chmod(0o600)

    with write_atomically(target) as temporary:
        temporary.write_bytes(b"new")

    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["folder", "fifo", "no name"])
def test_what_is_not_a_regular_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "special" if kind != "no name" else Path(tmp_path.anchor)
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)

    expected = pytest.raises(SaveError, match=r"Is a directory|not a regular file")
    with expected, write_atomically(path):
        pytest.fail("the block must not run")

    assert path.exists()


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)

    with write_atomically(path) as temporary:
        temporary.write_bytes(b"x")

    assert path.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 MB"),
        (300_000, "0.3 MB"),
        (605_143_316, "605 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.0 GB"),
        (1_234_000_000_000, "1234.0 GB"),
    ],
)
def test_sizes_are_given_in_megabytes_or_gigabytes(number: int, text: str) -> None:
    assert format_bytes(number) == text
