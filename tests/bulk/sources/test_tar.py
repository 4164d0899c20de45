"""Images in tar archives are read in order, without extraction; damage is an error row."""

from __future__ import annotations

import errno
import io
import lzma
import tarfile
import threading
import time
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bulk.sources.files import contents, error_of, pictures, write_tar
from zeroshot.bulk.sources import tar
from zeroshot.bulk.sources.reading import Options
from zeroshot.bulk.sources.tar import TarSource
from zeroshot.errors import ImageError, InputError
from zeroshot.lookahead import run_ahead

FILES = pictures(6)
MODES = {
    "a.tar": "w",
    "a.tar.gz": "w:gz",
    "a.tgz": "w:gz",
    "a.tar.bz2": "w:bz2",
    "a.tar.xz": "w:xz",
}


def source(path: Path, keep: tuple[str, ...] = ()) -> TarSource:
    [found] = tar.open_source(str(path), Options(keep=keep))
    return found


@pytest.mark.parametrize("name", MODES)
def test_images_are_the_members_in_their_order(name: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / name, FILES, MODES[name])

    assert contents(source(path).items()) == [(f"{path}#{n}", c) for n, c in FILES.items()]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tar")
    full = write_tar(folder / "full.tar", FILES)
    cut = folder / "cut.tar"
    cut.write_bytes(full.read_bytes()[:4000])
    packed = write_tar(folder / "full.tar.gz", FILES, "w:gz")
    half = folder / "cut.tar.gz"
    half.write_bytes(packed.read_bytes()[:-700])
    return [full, cut, packed, half]


@given(which=st.integers(0, 3), first=st.integers(0, 9))
def test_items_from_a_row_are_the_rest_of_all_items(
    which: int, first: int, archives: list[Path]
) -> None:
    found = source(archives[which])

    assert contents(found.items(first)) == contents(islice(found.items(0), first, None))


def test_other_files_are_counted_and_files_of_macos_are_ignored(tmp_path: Path) -> None:
    others = {"a.json": b"{}", "b.json": b"{}", "c.cls": b"1", "x/._1.jpg": b"x", "d.PKL": b"cos"}
    path = write_tar(tmp_path / "a.tar", {**others, **FILES})
    found = source(path)

    assert len(list(found.items())) == len(FILES)
    assert found.skipped == {".json": 2, ".cls": 1, ".jpg": 1, ".pkl": 1}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_truncated_archive_gives_its_images_and_one_error(name: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / name, FILES, MODES[name])
    path.write_bytes(path.read_bytes()[:-2500] if name == "a.tar.gz" else path.read_bytes()[:6000])
    *before, last = contents(source(path).items())

    assert before == [(f"{path}#{n}", c) for n, c in FILES.items()][: len(before)]
    assert 0 < len(before) < len(FILES)
    assert last == (str(path), "ImageError truncated")
    assert f"the {len(before)} images before are labeled" in str(error_of(source(path)))


def test_archive_that_ends_between_members_is_reported(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.jpg": b"1" * 512, "b.jpg": b"2"})
    path.write_bytes(path.read_bytes()[:1024])

    assert len(contents(source(path).items())) == 2
    assert "ends without an end marker" in str(error_of(source(path)))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"no archive" * 100, "is not a tar file"),
        (b"\x28\xb5\x2f\xfd123", "zstd"),
        (b"\x1f\x8b" + b"x" * 40, "cannot be read"),
        (b"BZh9" + b"x" * 40, "cannot be read"),
        (b"\xfd7zXZ\0" + b"x" * 40, "cannot be read"),
        (lzma.compress(b"x" * 5000)[:-5], "is not a tar file"),
    ],
)
def test_file_that_is_no_archive_is_one_error_row(
    content: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)

    assert len(list(source(path).items())) == 1
    assert problem in str(error_of(source(path)))


def test_names_of_members_are_never_paths(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    names = {f"{secret}": b"1", "../secret.jpg": b"2", "a#b\n.png": b"3"}
    path = write_tar(tmp_path / "a.tar", names)

    assert contents(source(path).items()) == [(f"{path}#{n}", c) for n, c in names.items()]


def test_the_second_name_of_a_file_is_an_error_row(tmp_path: Path) -> None:
    first = tmp_path / "a.jpg"
    first.write_bytes(b"x")
    (tmp_path / "b.jpg").hardlink_to(first)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.add(tmp_path / name, name)

    _, link = source(tmp_path / "a.tar").items()
    with pytest.raises(ImageError, match="a link to another member"):
        link.read()


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_drive_that_fails_ends_the_run_and_not_the_archive(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / name, FILES)
    found = source(path)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > path.stat().st_size // 2:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(tar, "open_file", lambda _: Failing(path.read_bytes()))
    with pytest.raises(InputError, match=r"Input/output error.*finished parts are kept"):
        list(found.items())


def test_link_to_a_file_outside_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)

    assert list(source(path).items()) == []


def test_large_and_sparse_members_are_error_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "MAX_BYTES", 100)
    info = tarfile.TarInfo("c.jpg")
    info.pax_headers = {"GNU.sparse.map": "0,1"}
    info.size = 1
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        big = tarfile.TarInfo("a.jpg")
        big.size = 101
        archive.addfile(big, io.BytesIO(bytes(101)))
        archive.addfile(info, io.BytesIO(b"1"))

    kinds = [content for _, content in contents(source(path).items())]
    assert kinds == ["ImageError too_large_bytes", "ImageError unsupported_format"]


def test_threads_read_ahead_at_most_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zeroshot.bulk.sources import budget

    limited: list[budget.Budget] = []
    path = write_tar(tmp_path / "a.tar.gz", {f"{n}.jpg": bytes(1000) for n in range(100)}, "w:gz")

    class Small(budget.Budget):
        def __init__(self) -> None:
            super().__init__(limit=5000, patience=5)
            limited.append(self)

    monkeypatch.setattr(tar, "Budget", Small)
    highest, lock = 0, threading.Lock()

    def read(item: object) -> int:
        nonlocal highest
        with lock:
            highest = max(highest, limited[0].held)
        time.sleep(0.0005)
        return len(item.read())  # type: ignore[attr-defined]

    assert list(run_ahead(read, source(path).items(), workers=4, limit=64)) == [1000] * 100
    assert highest <= 5000


def test_facts_change_with_the_content_and_not_with_the_time(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", FILES)
    facts = source(path).facts()
    path.touch()

    assert source(path).facts() == facts
    assert facts["size"] == path.stat().st_size
    write_tar(path, {**FILES, "x.jpg": b"1"})
    assert source(path).facts() != facts


def test_kept_columns_are_empty_and_the_length_is_unknown(tmp_path: Path) -> None:
    found = source(write_tar(tmp_path / "a.tar", FILES), keep=("a", "b"))

    assert {item.kept for item in found.items()} == {(None, None)}
    assert (found.columns, found.count(), found.splits) == (("a", "b"), None, False)
