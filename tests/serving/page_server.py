"""A server of the page with canned answers, which runs in a thread, and the browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
CAT, BOATS = str(PHOTOS / "cat.jpg"), str(PHOTOS / "boats.jpg")
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
FLOWERS: dict[str, Any] = {
    "name": "flowers",
    "labels": ["Rose", "Gänseblümchen"],
    "calibrated": True,
}


@dataclass
class Stub:
    """Answers as the native dialect does; the last label is always the best."""

    key: str | None = None
    status: int = 200  # of every classification
    slow: dict[str, float] = field(default_factory=dict)  # seconds for a request with this label
    asked: list[dict[str, Any]] = field(default_factory=list)

    def reset(self) -> None:
        self.key, self.status = None, 200
        self.slow, self.asked = {}, []


def answer(labels: list[str], data: bytes, *, none: bool) -> dict[str, Any]:
    if not data.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF")):
        return {"error": {"message": "The image cannot be decoded.", "type": "x", "code": "decode"}}
    share = 1 / 2 ** len(labels)
    ranking = []
    for name in reversed(labels):
        ranking.append({"label": name, "probability": share * 2 ** (len(labels) - 1)})
        share /= 2
    best: dict[str, Any] = {**ranking[0], "ranking": ranking}
    return {**best, "label": None, "probability": None, "none": 0.7} if none else best


def create_app(stub: Stub, *, own_labels: bool = True) -> Any:
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    from zeroshot.serving import page

    def refused(request: Request) -> JSONResponse | None:
        if stub.key and request.headers.get("authorization") != f"Bearer {stub.key}":
            return JSONResponse({"error": {"message": "no", "type": "x", "code": "key"}}, 401)
        return None

    async def models(request: Request) -> JSONResponse:
        listed = {"object": "list", "data": [{"id": "stub", "dim": 8, "identity": "0"}]}
        return refused(request) or JSONResponse(listed)

    async def heads(request: Request) -> JSONResponse:
        return refused(request) or JSONResponse({"heads": [FLOWERS]})

    async def classify(request: Request) -> JSONResponse:
        if (no := refused(request)) is not None:
            return no
        async with request.form() as form:
            labels: list[str] = json.loads(str(form.get("labels", "[]"))) or FLOWERS["labels"]
            upload: Any = form["image"]
            data = await upload.read()
            name, head = upload.filename, form.get("head")
        stub.asked.append({"labels": labels, "head": head, "name": name, "size": len(data)})
        await asyncio.sleep(max(stub.slow.get(label, 0.0) for label in labels))
        if stub.status != 200:
            sent = {"error": {"message": "limit 20 MB", "type": "x", "code": "x"}}
            return JSONResponse(sent, stub.status, {"Retry-After": "0.01"})
        return JSONResponse({"results": [answer(labels, data, none=head is not None)]})

    app = FastAPI()
    app.add_route("/v1/models", models)
    app.add_route("/v1/heads", heads)
    app.add_route("/v1/classify", classify, methods=["POST"])
    app.include_router(page.router(allow_labels=own_labels))
    return app


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve an application on a free port of the loopback interface; yield its address."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server ended"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser without a window and with a fake camera."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *FAKE_CAMERA]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def tab(browser: Any, address: str) -> Iterator[Any]:
    """Open an empty tab; a script error or a blocked request fails the test."""
    context = browser.new_context(base_url=address)
    context.set_default_timeout(5_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda line: wrong.append(line.text) if "Security Policy" in line.text else None,
    )
    yield page
    context.close()
    assert wrong == []


def names(page: Any) -> Any:
    """Return the labels of the bars."""
    return page.locator(".bars .name")
