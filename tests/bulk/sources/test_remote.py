"""Images of other file systems: folders, patterns, attempts, and missing packages."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import fsspec
import pytest

from tests.bulk.sources.files import contents, pictures
from zeroshot.bulk.sources import open_sources, remote
from zeroshot.bulk.sources.remote import is_remote, list_files, read
from zeroshot.errors import ImageError, ImageNotFound, InputError, MissingPackage, image_error

FILES = pictures(5)


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    """The file system memory://, with pictures in a folder."""
    system = fsspec.filesystem("memory")
    for name, content in {**FILES, "notes.txt": b"", "0/.hidden.jpg": b""}.items():
        system.pipe(f"/photos/{name}", content)
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts, which the test does not wait for."""
    found: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", found.append)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3://bucket/a.jpg", True),
        ("memory://a.jpg", True),
        ("http://a/b.jpg", False),
        ("https://a/b.jpg", False),
        ("a.jpg", False),
        ("folder/a://b", False),
        ("data:image/png;base64,a://", False),
    ],
)
def test_urls_of_file_systems_are_recognized(name: str, expected: bool) -> None:
    assert is_remote(name) is expected


@pytest.mark.parametrize("url", ["memory://photos", "memory://photos/", "memory://photos/*/*.*"])
def test_folder_and_pattern_are_one_list_of_urls(url: str) -> None:
    [source] = open_sources(url)

    expected = {f"memory:///photos/{name}": content for name, content in FILES.items()}
    assert contents(source.items()) == sorted(expected.items())
    assert source.kind == "list"


def test_single_url_is_read_as_bytes() -> None:
    name, content = next(iter(FILES.items()))
    [source] = open_sources([f"memory://photos/{name}"])

    assert contents(source.items()) == [(f"memory://photos/{name}", content)]


def test_missing_file_is_an_error_row_and_missing_folder_an_error() -> None:
    [source] = open_sources(["memory://photos/missing.jpg"])
    with pytest.raises(ImageNotFound, match="no such file"):
        next(source.items()).read()
    with pytest.raises(InputError, match="no files found"):
        open_sources("memory://photos/*.tif")


def test_missing_package_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ImportError("Install s3fs")

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)

    for url, package in (("s3://b/a.jpg", "s3fs"), ("gs://b/a.jpg", "gcsfs")):
        with pytest.raises(MissingPackage, match=f"run: pip install {package}"):
            open_sources(url)


def test_unknown_scheme_is_an_error() -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        open_sources("nonsense://a.jpg")


def failing(errors: list[Exception], content: bytes = b"1") -> Callable[..., bytes]:
    def work(*_: object) -> bytes:
        if errors:
            raise errors.pop(0)
        return content

    return work


def http(code: int) -> ImageError:
    error = image_error("url_refused", "http://a", f"the server returned {code}")
    error.__cause__ = urllib.error.HTTPError("http://a", code, "", Message(), None)
    return error


def refused() -> ImageError:
    error = image_error("url_refused", "http://a", "download failed")
    error.__cause__ = urllib.error.URLError(ConnectionResetError())
    return error


PASSING = {
    "reset": lambda: ConnectionResetError("reset"),
    "timeout": lambda: TimeoutError("slow"),
    "client": lambda: RuntimeError("of a client"),
    "503": lambda: http(503),
    "429": lambda: http(429),
    "connection": refused,
    "slow": lambda: image_error("timeout", "http://a", "timed out"),
}


@pytest.mark.parametrize("url", ["memory://a", "http://a"])
@pytest.mark.parametrize("make", PASSING.values(), ids=PASSING)
def test_errors_that_may_pass_are_tried_three_times(
    make: Callable[[], Exception], url: str, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (2, 3):
        work = failing([make() for _ in range(count)])
        monkeypatch.setattr(remote, "_read_once", work)
        monkeypatch.setattr(remote, "download_image", work)
        if count < 3:
            assert read(url) == b"1"
            continue
        with pytest.raises(OSError, match="3 attempts") as caught:
            read(url)
        assert not isinstance(caught.value, ImageError)
        is_slow = isinstance(make(), TimeoutError) or getattr(make(), "kind", "") == "timeout"
        assert isinstance(caught.value, TimeoutError) == is_slow
    assert pauses == [0.5, 1.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError("x"), "not_found"),
        (PermissionError("x"), "permission"),
        (IsADirectoryError("x"), "not_image"),
        (http(403), "url_refused"),
        (image_error("too_large_bytes", "a", "large"), "too_large_bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_errors_are_tried_once(
    error: Exception, kind: str, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_read_once", failing([error]))

    with pytest.raises(ImageError) as caught:
        read("memory://a")
    assert caught.value.kind == kind
    assert pauses == []


def test_archives_and_tables_of_other_file_systems_are_read(memory: Any, tmp_path: Any) -> None:
    from tests.bulk.sources.files import write_parquet, write_tar, write_video, write_zip

    paths = [
        write_tar(tmp_path / "a.tar", FILES),
        write_tar(tmp_path / "a.tar.gz", FILES, "w:gz"),
        write_zip(tmp_path / "a.zip", FILES),
        write_parquet(tmp_path / "a.parquet", {"image": FILES.values()}),
        write_video(tmp_path / "a.mp4"),
    ]
    (tmp_path / "a.csv").write_text("path\n0/000.jpeg\n")
    memory.pipe("/photos/a.csv", (tmp_path / "a.csv").read_bytes())
    for path in paths:
        memory.pipe(f"/data/{path.name}", path.read_bytes())

    for path in paths:
        [local], [source] = open_sources(path), open_sources(f"memory://data/{path.name}")
        expected = [content for _, content in contents(local.items())]
        assert [content for _, content in contents(source.items())] == expected
        assert source.facts()["digest"] == local.facts()["digest"]
    assert list_files("memory://data/a.zip") is None
    found = open_sources("memory://data/*.tar*")
    assert [source.kind for source in found] == ["tar", "tar"]
    [table] = open_sources("memory://photos/a.csv")
    assert [content for _, content in contents(table.items())] == [FILES["0/000.jpeg"]]
