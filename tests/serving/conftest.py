"""Fixtures of the server's tests: a service over the tiny model, a client, and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

import zeroshot
from tests.serving.page_server import Stub, chromium, create_app, running, tab
from tests.support import photograph

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from playwright.sync_api import Browser, Page

    from zeroshot.serving.service import Service


@pytest.fixture
def jpeg() -> bytes:
    stream = BytesIO()
    Image.fromarray(photograph(40, 50, 3)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def serve(tiny: zeroshot.Model) -> Iterator[Callable[..., Service]]:
    """Return a function that makes a service over the tiny model with some settings."""
    pytest.importorskip("fastapi", reason="requires the serve extra")
    from zeroshot.serving.service import Service
    from zeroshot.serving.settings import Settings

    made: list[Service] = []

    def serve(**options: Any) -> Service:
        options.setdefault("heads", {"pets": ["cat", "dog"]})
        made.append(Service(tiny, Settings("tiny", **options)))
        return made[-1]

    yield serve
    for service in made:
        service.close()


@pytest.fixture
def client_of() -> Callable[[Service], TestClient]:
    """Return a function that makes a client of a service."""
    pytest.importorskip("fastapi", reason="requires the serve extra")
    pytest.importorskip("python_multipart", reason="requires the serve extra")
    from fastapi.testclient import TestClient

    from zeroshot.serving.app import create_app

    return lambda service: TestClient(
        create_app(service), base_url="http://localhost", raise_server_exceptions=False
    )


@pytest.fixture
def client(serve: Callable[..., Service], client_of: Callable[[Service], TestClient]) -> TestClient:
    return client_of(serve())


@pytest.fixture
def head_file(tiny: zeroshot.Model, tmp_path: Path) -> Path:
    path = tmp_path / "fish.safetensors"
    tiny.head(["cod", "eel"]).save(path)
    return path


@pytest.fixture(scope="module")
def stub() -> Stub:
    return Stub()


@pytest.fixture(scope="module")
def address(stub: Stub) -> Iterator[str]:
    with running(create_app(stub)) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, stub: Stub, address: str) -> Iterator[Page]:
    stub.reset()
    with tab(browser, address) as opened:
        yield opened
