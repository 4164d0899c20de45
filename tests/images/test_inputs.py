"""Uploads, responses, paths of other file systems, data URIs and base64 text are images."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import tarfile
import tempfile
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import httpx
import numpy as np
import pytest
import requests
from PIL import Image
from starlette.datastructures import UploadFile
from upath import UPath
from werkzeug.datastructures import FileStorage

from tests.support import encoded, image_error_of, photograph, pixels_of, run_python
from zeroshot.errors import ImageNotFound, image_error
from zeroshot.images import describe, inputs, is_single

PHOTO = photograph()
PNG = encoded(Image.fromarray(PHOTO), "PNG")
TEXT = base64.b64encode(PNG).decode()


ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w") as archive:
    archive.writestr("photos/cat.png", PNG)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the photograph and an archive of it; both are in fsspec's memory as well."""
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "cats.zip").write_bytes(ARCHIVE.getvalue())
    fsspec.filesystem("memory").pipe_file("/photos/cat.png", PNG)
    return tmp_path


@pytest.fixture
def spooled() -> Iterator[Callable[[int], Any]]:
    """Return a function that writes the photograph to a file like those of web servers."""
    with contextlib.ExitStack() as stack:

        def write(max_size: int) -> Any:
            file = stack.enter_context(tempfile.SpooledTemporaryFile(max_size))
            file.write(PNG)
            return file

        yield write


def zip_path(name: str = "cat.png") -> zipfile.Path:
    return zipfile.Path(zipfile.ZipFile(ARCHIVE), f"photos/{name}")


TEXTS: dict[str, str | bytes] = {
    "data URI": f"data:image/png;base64,{TEXT}",
    "data URI with a charset": f"DATA:image/png;charset=utf-8;base64,{TEXT}",
    "data URI with escapes": f"data:image/png;base64,{urllib.parse.quote(TEXT, '')}",
    "data URI without base64": f"data:image/png,{urllib.parse.quote(PNG)}",
    "data URI of bytes": f"data:image/png;base64,{TEXT}".encode(),
    "base64": TEXT,
    "base64 in lines": base64.encodebytes(PNG).decode(),
    "base64 without padding": TEXT.rstrip("="),
    "base64 of URLs": base64.urlsafe_b64encode(PNG).decode(),
    "base64 bytes": base64.b64encode(PNG),
}


def assert_read(source: Any, name: str | None) -> None:
    """Assert that the photograph is read twice, whatever the position, and how it is named."""
    assert is_single(source)
    for _ in range(2):
        np.testing.assert_array_equal(pixels_of(source), PHOTO)
    assert describe(source) == name


@pytest.mark.parametrize("kind", TEXTS)
def test_the_image_in_a_text_is_read(kind: str) -> None:
    assert is_single(TEXTS[kind])
    np.testing.assert_array_equal(pixels_of(TEXTS[kind]), PHOTO)
    assert len(describe(TEXTS[kind]) or "") < 80


@pytest.mark.parametrize("max_size", [1_000_000, 100], ids=["memory", "disk"])
def test_an_upload_is_read(spooled: Callable[[int], Any], max_size: int) -> None:
    file = spooled(max_size)

    assert_read(UploadFile(file, filename="cat.png"), "cat.png")
    assert_read(UploadFile(file), None)
    assert_read(FileStorage(file, filename="cat.png"), "cat.png")
    assert_read(FileStorage(io.BytesIO(PNG), filename="cat.png"), "cat.png")
    assert_read(file, None)


@pytest.mark.parametrize("client", [requests, httpx])
def test_a_response_is_read(server: str, client: Any) -> None:
    url = f"{server}/photo.png"

    assert_read(client.get(url), url)
    assert image_error_of(client.get(f"{server}/absent.png")).kind == "not_found"
    assert "a web page" in str(image_error_of(client.get(f"{server}/page.png")))


def test_a_response_whose_body_was_not_read_is_read(server: str) -> None:
    url = f"{server}/photo.png"

    with requests.get(url, stream=True, timeout=10) as response:
        assert_read(response, url)
    with requests.get(url, stream=True, timeout=10) as response:
        np.testing.assert_array_equal(pixels_of(response.raw), PHOTO)
    with httpx.stream("GET", url) as streamed:
        assert_read(streamed, url)


def test_a_response_without_a_url_is_read() -> None:
    assert_read(httpx.Response(200, content=PNG), None)


def test_a_file_of_fsspec_is_read(folder: Path) -> None:
    assert_read(fsspec.open("memory://photos/cat.png", "rb"), "memory:///photos/cat.png")
    assert_read(fsspec.open(f"zip://photos/cat.png::{folder}/cats.zip"), "zip://photos/cat.png")
    with fsspec.open("memory://photos/cat.png", "rb") as file:
        assert_read(file, None)


def test_a_path_of_another_file_system_is_read(folder: Path) -> None:
    assert_read(UPath("memory://photos/cat.png"), "memory://photos/cat.png")
    assert_read(UPath(folder / "cat.png"), str(folder / "cat.png"))
    np.testing.assert_array_equal(pixels_of(zip_path()), PHOTO)


def test_a_path_in_an_archive_is_read(folder: Path) -> None:
    pytest.importorskip("upath.implementations.zip")  # since universal-pathlib 0.3
    name = f"zip://photos/cat.png::{folder}/cats.zip"

    assert_read(UPath(name), name)


class PathWithLocalForm:
    """Like a path of universal-pathlib 0.2, which has a local form on any file system."""

    protocol = "memory"

    def __str__(self) -> str:
        return "memory://photos/cat.png"

    def __fspath__(self) -> str:
        pytest.fail("the path is not local")

    def read_bytes(self) -> bytes:
        return PNG

    def open(self, mode: str = "r") -> Any:
        return io.BytesIO(PNG)


def test_the_local_form_of_a_remote_path_is_not_used() -> None:
    assert_read(PathWithLocalForm(), "memory://photos/cat.png")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (f"data:image/png;base64,{TEXT}", "data:image/png;base64,..."),
        ("data:image/png;base64", "data:image/png;base64..."),
        ("data:" + "x" * 9_000, "data:xxxxxxxxxxxxxxxxxxxxxxxxx..."),
        (TEXT, f"<base64 of {len(TEXT)} characters>"),
    ],
)
def test_texts_have_short_names(source: str, name: str) -> None:
    assert describe(source) == name


@pytest.mark.parametrize("head", ["JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_base64_of_every_format_is_read(head: str) -> None:
    content = encoded(Image.fromarray(PHOTO), head)
    wanted = pixels_of(content)
    np.testing.assert_array_equal(pixels_of(base64.b64encode(content).decode()), wanted)


class Asynchronous:
    """An upload without a synchronous file."""

    filename = "cat.png"

    async def read(self) -> bytes:
        return PNG


class Future:
    filename = "cat.png"

    def read(self) -> Any:
        return Asynchronous().read()


class Unmade:
    """An image that is made when it is read, and cannot be."""

    name = "clip.avi"

    def read(self) -> bytes:
        raise image_error("decode_failed", self.name, "it has no frames")


def test_an_object_that_cannot_make_its_image_keeps_its_error() -> None:
    assert str(image_error_of(Unmade())) == "clip.avi: it has no frames"


@pytest.mark.parametrize("upload", [Asynchronous(), Future()])
def test_an_asynchronous_file_is_rejected_with_a_fix(upload: Any) -> None:
    error = image_error_of(upload)  # a coroutine that is not awaited would be a warning
    assert error.kind == "bad_type"
    assert str(error) == (
        "cat.png: its read() is asynchronous; pass the bytes with await upload.read(), or pass "
        "upload.file"
    )
    np.testing.assert_array_equal(pixels_of(asyncio.run(Asynchronous().read())), PHOTO)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,#" + TEXT, "invalid base64"),
        ("data:image/png;base64," + TEXT[:400] + "#", "invalid base64"),
        ("data:image/png;base64," + TEXT[:400], "PNG image"),
        ("data:text/plain;base64," + base64.b64encode(b"hello " * 9_000).decode(), "text that"),
        ("data:text/html,<p>" + "x" * 9_000, "a web page"),
        ("data:,", "the file is empty"),
        (base64.b64encode(b"hello " * 9_000).decode(), "72000 characters of other text"),
        ("iVBORw0KGgo" * 9_000, "corrupted PNG image"),
        (httpx.Response(200, text="<html>no</html>"), "a web page"),
        (httpx.Response(404), "the response has status 404"),
        (SimpleNamespace(content="text", status_code=200), "content is bytes, got str"),
        (zip_path("dog.png"), "dog.png: no such image file"),
        (fsspec.open("memory://absent.png", "rb"), "no such image file"),
        (UPath("memory://absent.png"), "memory://absent.png: no such image file"),
    ],
    ids=lambda value: None,
)
def test_a_bad_source_has_a_short_error(source: Any, says: str) -> None:
    error = image_error_of(source)
    assert says in str(error)
    assert len(str(error)) < 600
    assert len(error.source or "") < 300


def test_an_archive_is_not_an_image_and_stays_open() -> None:
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as archive:
        assert not is_single(archive)
        assert image_error_of(archive).kind == "bad_type"
        assert not archive.closed


def test_a_missing_file_in_an_archive_is_not_found() -> None:
    assert isinstance(image_error_of(zip_path("dog.png")), ImageNotFound)


def test_text_has_a_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_BASE64", 100)
    error = image_error_of(f"data:image/png;base64,{TEXT}")
    assert error.kind == "too_large_bytes"
    assert "expected at most 100 characters of base64" in str(error)


@pytest.mark.parametrize("name", ["9j/4AAQ", "/9j/photos", "iVBORw0KGgo", "Qk1.png", "a" * 60])
def test_paths_are_not_base64(name: str, tmp_path: Path) -> None:
    assert not inputs.is_base64_image(name)
    path = tmp_path / name.lstrip("/")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PNG)
    np.testing.assert_array_equal(pixels_of(str(path)), PHOTO)


def test_the_libraries_are_not_imported() -> None:
    libraries = "starlette", "werkzeug", "requests", "httpx", "fsspec", "upath"
    code = f"import sys, zeroshot.images; print(*set({libraries}) & set(sys.modules))"

    assert run_python(code).split() == []
