"""The page answers with a real model behind the whole server, within the time people wait."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("python_multipart", reason="the serve extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, expect

import zeroshot
from tests.serving.page_server import BOATS, CAT, CHROMIUM, names, running, tab
from zeroshot.serving.app import create_app
from zeroshot.serving.service import Service
from zeroshot.serving.settings import Settings

FIRST_BARS = 1.5  # seconds after opening the page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def model() -> zeroshot.Model:
    return zeroshot.load("mini")


@pytest.fixture(scope="module")
def pets(model: zeroshot.Model) -> zeroshot.Head:
    return model.head(["dog", "rabbit"], none_of_these=True)


@pytest.fixture
def serve(model: zeroshot.Model, pets: zeroshot.Head) -> Iterator[Any]:
    """Return a function that starts a server with some settings and returns its address."""
    with contextlib.ExitStack() as stack:

        def serve(**options: Any) -> str:
            service = Service(model, Settings("mini", heads={"pets": pets}, **options))
            stack.callback(service.close)
            service.warm_up()
            return stack.enter_context(running(create_app(service)))

        yield serve


def test_cat_gets_its_label_fast_with_requests_to_the_server_only(
    browser: Browser, serve: Any
) -> None:
    address = serve()
    requests: list[str] = []
    with tab(browser, address) as page:
        page.on("request", lambda request: requests.append(request.url))
        started = time.perf_counter()
        page.goto("/")
        page.set_input_files("#files", CAT)
        expect(names(page).first).to_have_text("cat")
        seconds = time.perf_counter() - started
        print(f"first bars after {seconds:.2f} s")

        expect(page.locator("#model")).to_contain_text("Model: mini")
        assert seconds < FIRST_BARS
        assert [url for url in requests if not url.startswith((address, "blob:", "data:"))] == []


def test_named_head_shows_none_of_these_of_the_model(browser: Browser, serve: Any) -> None:
    with tab(browser, serve()) as page:
        page.goto("/")
        page.set_input_files("#files", [BOATS])
        page.get_by_label("Classifier").select_option("pets")

        expect(page.locator("#head-labels")).to_have_text("dog, rabbit")
        expect(names(page).last).to_have_text("none of these")
        expect(page.get_by_role("status")).to_contain_text("none of these")


def test_garbage_shows_the_error_of_the_server_and_images_their_bars(
    browser: Browser, serve: Any
) -> None:
    with tab(browser, serve()) as page:
        page.goto("/")
        garbage = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"\x00garbage" * 99}
        page.set_input_files("#files", garbage)
        expect(page.locator(".bad")).to_have_text("the data is not an image")
        page.set_input_files("#files", [CAT, BOATS])
        expect(page.locator(".bars")).to_have_count(2)


def test_server_with_a_key_serves_the_page_and_asks_for_the_key(
    browser: Browser, serve: Any
) -> None:
    with tab(browser, serve(api_key="secret", allow_labels=False)) as page:
        page.goto("/")
        field = page.get_by_label("This server requires a key")
        expect(field).to_be_focused()
        field.fill("secret")
        field.press("Enter")
        page.set_input_files("#files", CAT)

        expect(names(page)).to_have_text(["dog", "rabbit", "none of these"])
        expect(page.locator("#labels")).to_be_hidden()


def test_image_over_the_limit_of_the_server_is_explained(browser: Browser, serve: Any) -> None:
    with tab(browser, serve(max_body=20_000)) as page:
        page.goto("/")
        large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8" * 50_000}
        page.set_input_files("#files", large)

        expect(page.locator(".bad")).to_contain_text("too large for this server")
        expect(page.locator(".bad")).to_contain_text("20000 bytes")
