"""Uploads, responses, paths of other file systems, data URIs and base64 text are images."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
import tarfile
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from tests.support import encoded, image_error_of, photograph, pixels_of
from zeroshot.errors import ImageNotFound
from zeroshot.images import describe, inputs, is_single

PHOTO = photograph()
PNG = encoded(Image.fromarray(PHOTO), "PNG")
TEXT = base64.b64encode(PNG).decode()


class Upload:
    """Like the upload of Starlette and FastAPI."""

    filename = "cat.png"

    def __init__(self, content: bytes = PNG) -> None:
        self.file = io.BytesIO(content)
        self.file.seek(0, io.SEEK_END)

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


class Storage:
    """Like Werkzeug's FileStorage, which forwards attributes to its stream."""

    filename = "cat.png"

    def __init__(self) -> None:
        self.stream = io.BytesIO(PNG)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Response:
    """Like the response of requests, which is iterable."""

    url = "https://example.com/cat.png"

    def __init__(self, content: Any = PNG, status_code: int = 200) -> None:
        self.content, self.status_code = content, status_code

    def __iter__(self) -> Any:
        return iter([self.content])


class LocalResponse(Response):
    """Like a response of httpx, whose properties may raise."""

    @property
    def url(self) -> str:  # type: ignore[override]
        raise RuntimeError("the request is not set")

    def read(self) -> Any:
        return self.content


class RemotePath:
    """Like a path of universal-pathlib on another file system."""

    name = "cat.png"

    def __str__(self) -> str:
        return "s3://bucket/cat.png"

    def open(self, mode: str = "r") -> Any:
        return io.BytesIO(PNG)

    def read_bytes(self) -> bytes:
        return PNG


class ForeignPath(RemotePath):
    """Like a remote path that also has a local form."""

    protocol = "memory"

    def __fspath__(self) -> str:
        return "/cat.png"


def zip_path(name: str = "cat.png") -> zipfile.Path:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photos/cat.png", PNG)
    return zipfile.Path(zipfile.ZipFile(file), f"photos/{name}")


def memory_file() -> Any:
    with fsspec.open("memory://photos/cat.png", "wb") as file:
        file.write(PNG)
    return fsspec.open("memory://photos/cat.png", "rb")


SOURCES: dict[str, Any] = {
    "data URI": lambda: f"data:image/png;base64,{TEXT}",
    "data URI with a charset": lambda: f"DATA:image/png;charset=utf-8;base64,{TEXT}",
    "data URI with escapes": lambda: f"data:image/png;base64,{urllib.parse.quote(TEXT, '')}",
    "data URI without base64": lambda: f"data:image/png,{urllib.parse.quote(PNG)}",
    "data URI of bytes": lambda: f"data:image/png;base64,{TEXT}".encode(),
    "base64": lambda: TEXT,
    "base64 in lines": lambda: base64.encodebytes(PNG).decode(),
    "base64 without padding": lambda: TEXT.rstrip("="),
    "base64 of URLs": lambda: base64.urlsafe_b64encode(PNG).decode(),
    "base64 bytes": lambda: base64.b64encode(PNG),
    "upload": Upload,
    "file of an upload": lambda: Upload().file,
    "storage": Storage,
    "response": Response,
    "response without a URL": LocalResponse,
    "remote path": RemotePath,
    "remote path with a local form": ForeignPath,
    "zip path": zip_path,
    "fsspec": memory_file,
    "opened fsspec": lambda: memory_file().open(),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_image_in_each_object_is_read(kind: str) -> None:
    source = SOURCES[kind]()
    assert is_single(source)
    for _ in range(2):  # a second time, whatever its position
        np.testing.assert_array_equal(pixels_of(source), PHOTO)
    assert len(describe(source) or "") < 80


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (f"data:image/png;base64,{TEXT}", "data:image/png;base64,..."),
        ("data:image/png;base64", "data:image/png;base64..."),
        ("data:" + "x" * 9_000, "data:xxxxxxxxxxxxxxxxxxxxxxxxx..."),
        (TEXT, f"<base64 of {len(TEXT)} characters>"),
        (Upload(), "cat.png"),
        (Storage(), "cat.png"),
        (Response(), "https://example.com/cat.png"),
        (RemotePath(), "s3://bucket/cat.png"),
        (memory_file(), "memory:///photos/cat.png"),
    ],
)
def test_objects_have_short_names(source: Any, name: str) -> None:
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
        (Response(b"<html>no</html>"), "a web page"),
        (Response(b"", 404), "the response has status 404"),
        (Response("text"), "content is bytes, got str"),
        (zip_path("dog.png"), "dog.png: no such image file"),
        (fsspec.open("memory://absent.png", "rb"), "no such image file"),
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
    assert "requests" not in vars(inputs)
    assert "upath" not in sys.modules
