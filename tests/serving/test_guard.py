"""The checks before a request is read: key, drain, queue, size and time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from itertools import product
from typing import Any
from unittest.mock import AsyncMock

import pytest

from zeroshot.serving import guard, memory

KEY = "right-key-0123456789"
PATHS = (
    ("POST", "/v1/classify?head=pets"),
    ("POST", "/"),
    ("POST", "/models/tiny"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/heads"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("HEAD", "/v1/heads"),
    ("OPTIONS", "/v1/classify"),
    ("GET", "/nothing"),
    ("GET", "//healthz"),
    ("GET", "/healthz/"),
    ("GET", "/healthz/../v1/heads"),
    ("GET", "/healthz;/v1/heads"),
    ("GET", "/HEALTHZ"),
    ("GET", "/page.js/../v1/heads"),
    ("POST", "/healthz"),
    ("DELETE", "/readyz"),
    ("PUT", "/page.js"),
)
WRONG: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("Authorization", "Bearer wrong"),),
    (("Authorization", "Bearer "),),
    (("Authorization", f"Bearer {KEY[:-1]}"),),
    (("Authorization", f"Bearer {KEY}x"),),
    (("Authorization", f"Basic {KEY}"),),
    (("Authorization", KEY),),
    (("Authorization", f"Bearer {KEY.upper()}"),),
    (("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {KEY}")),
    (("X-Api-Key", KEY), ("Cookie", f"key={KEY}"), ("X-Forwarded-For", "127.0.0.1")),
)


@pytest.fixture
def locked(serve: Callable[..., Any], client_of: Callable[..., Any]) -> Any:
    return client_of(serve(api_key=KEY))


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_requests_without_the_key_are_refused(
    locked: Any, jpeg: bytes, method: str, path: str
) -> None:
    for headers in WRONG:
        answer = locked.request(
            method, f"http://localhost{path}", headers=list(headers), content=jpeg
        )
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"] == "Bearer"
        assert KEY not in answer.text


def test_table_of_requests_without_the_key_has_at_least_100_cases() -> None:
    assert len(list(product(PATHS, WRONG))) >= 100


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer  {KEY}"])
def test_requests_with_the_key_are_answered(locked: Any, jpeg: bytes, value: str) -> None:
    headers = {"Authorization": value}

    assert locked.post("/v1/classify?head=pets", headers=headers, content=jpeg).status_code == 200
    assert locked.get("/v1/heads", headers=headers).status_code == 200
    assert locked.get("/nothing", headers=headers).status_code == 404


def test_key_in_the_query_is_refused(locked: Any) -> None:
    assert locked.get(f"/v1/heads?api_key={KEY}&key={KEY}").status_code == 401


def test_probes_and_page_need_no_key(locked: Any) -> None:
    for path in ("/healthz", "/readyz", "/", "/page.js"):
        assert locked.get(path).status_code in (200, 404, 405), path


def test_key_is_checked_before_anything_else_and_without_reading(
    serve: Callable[..., Any], client_of: Callable[..., Any]
) -> None:
    service = serve(api_key=KEY, max_body=10)
    service.is_draining = True

    assert client_of(service).post("/v1/classify", content=b"x" * 100).status_code == 401


@pytest.mark.parametrize("state", ["draining", "busy", "full"])
def test_busy_and_draining_servers_refuse_requests(
    serve: Callable[..., Any], client_of: Callable[..., Any], jpeg: bytes, state: str
) -> None:
    service = serve(max_queue=2)
    service.is_draining = state == "draining"
    service.admitted = 2 if state == "busy" else 0
    service.memory.used = 10**12 if state == "full" else 0

    answer = client_of(service).post("/v1/classify?head=pets", content=jpeg)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["code"] == ("draining" if state == "draining" else "busy")
    assert service.metrics.requests[503] == 1


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [("/v1/classify?head=pets", b"garbage", "not_image"), ("/v1/classify", b"", "no_image")],
)
def test_log_has_the_code_of_an_error(
    client: Any, caplog: pytest.LogCaptureFixture, path: str, body: bytes, code: str
) -> None:
    caplog.set_level(logging.INFO, "zeroshot.serving")

    answer = client.post(path, content=body)

    assert answer.json()["error"]["code"] == code
    facts: Any = getattr(caplog.records[-1], "facts")  # noqa: B009
    assert (facts["status"], facts["code"]) == (422, code)


def test_answers_have_security_headers_and_a_request_id(client: Any) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": "abc-1"})

    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, 'a"b', "é"])
def test_invalid_request_id_is_replaced(client: Any, sent: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": sent.encode("latin-1")})

    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("method", ["A" * 100, "g\u00e9t"])
def test_log_has_no_unusual_method(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture, method: str
) -> None:
    scope = {"type": "http", "method": method, "path": "/", "headers": []}
    with caplog.at_level(logging.INFO, "zeroshot.serving"):
        guard._Exchange(scope, AsyncMock(), AsyncMock(), serve()).finish()

    assert caplog.records[0].facts["method"] == "?"  # type: ignore[attr-defined]


def test_log_of_a_failure_has_no_message(
    serve: Callable[..., Any],
    client_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = serve()

    async def fail(*arguments: Any, **options: Any) -> None:
        raise ValueError(" ".join(["data", "of a user"]))  # the source is logged

    monkeypatch.setattr(service, "head_for", fail)
    with caplog.at_level(logging.INFO, "zeroshot.serving"):
        answer = client_of(service).post("/v1/classify?head=pets", content=b"x")

    assert answer.status_code == 500
    assert "failed with ValueError" in caplog.text
    assert "data of a user" not in caplog.text


class Wire:
    """The server's side of one request: messages in, messages out."""

    def __init__(self, service: Any, app: Any, **headers: str) -> None:
        self.sent: list[Any] = []
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        headers["host"] = "localhost"
        pairs = [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/v1/classify", "headers": pairs}
        self.task = asyncio.ensure_future(
            guard.Guard(app, service)(scope, self.inbox.get, self.send)
        )

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def push(self, body: bytes, more: bool = True) -> None:
        self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def answer_never(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await asyncio.sleep(60)


def test_declared_size_above_the_limit_is_answered_before_the_body(
    serve: Callable[..., Any],
) -> None:
    async def check() -> None:
        wire = Wire(serve(max_body=100), answer_ok, content_length="101")
        await asyncio.sleep(0.05)
        assert wire.status == 413
        assert wire.sent[1]["body"]
        assert wire.sent[1]["more_body"]  # the connection stays open for the rest
        wire.push(b"x" * 101, more=False)
        await wire.task
        assert not wire.sent[-1]["more_body"]

    asyncio.run(check())


def test_body_above_the_limit_is_refused_while_it_arrives(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        service = serve(max_body=100)
        wire = Wire(service, answer_ok, transfer_encoding="chunked")
        wire.push(b"x" * 60)
        await asyncio.sleep(0.02)
        assert not wire.sent
        assert service.memory.used == 60
        wire.push(b"x" * 60)
        await asyncio.sleep(0.02)
        assert wire.status == 413
        wire.push(b"", more=False)
        await wire.task
        assert (service.memory.used, service.admitted, service.active) == (0, 0, 0)

    asyncio.run(check())


def test_bodies_that_are_too_large_together_are_refused(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        service = serve(max_body=100)
        wires = [Wire(service, answer_never, content_length="100") for _ in range(32)]
        await asyncio.sleep(0.02)
        for wire in wires:  # all are admitted before any sends
            wire.push(b"x" * 90)
        await asyncio.sleep(0.02)
        refused = [wire for wire in wires if wire.sent]
        assert [wire.status for wire in refused] == [503] * 15
        assert service.memory.used <= memory.REQUESTS * 100
        for wire in wires:
            wire.inbox.put_nowait({"type": "http.disconnect"})
            await wire.task
        assert (service.memory.used, service.admitted) == (0, 0)

    asyncio.run(check())


def test_requests_with_two_kinds_of_length_are_refused_and_closed(
    serve: Callable[..., Any],
) -> None:
    async def check() -> None:
        wire = Wire(serve(), answer_ok, content_length="5", transfer_encoding="chunked")
        wire.push(b"", more=False)
        await wire.task
        assert wire.status == 400
        assert (b"connection", b"close") in wire.sent[0]["headers"]

    asyncio.run(check())


def test_requests_that_outlast_the_drain_get_503(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        service = serve()
        wire = Wire(service, answer_never, content_length="1")
        wire.push(b"x", more=False)
        await asyncio.sleep(0.02)
        service.is_draining = True
        wire.task.cancel()  # as uvicorn does
        await wire.task
        assert wire.status == 503
        assert (b"retry-after", b"1") in wire.sent[0]["headers"]

    asyncio.run(check())


def test_connection_of_a_short_refused_body_stays_open(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        service = serve(max_queue=1, max_body=100)
        service.admitted = 1
        short = Wire(service, answer_ok, content_length="100")
        unknown = Wire(service, answer_ok, transfer_encoding="chunked")
        for wire in (short, unknown):
            wire.push(b"x" * 100, more=False)
            await wire.task
            assert wire.status == 503
        assert b"connection" not in dict(short.sent[0]["headers"])
        assert dict(unknown.sent[0]["headers"])[b"connection"] == b"close"

    asyncio.run(check())


def test_connection_of_a_client_that_waits_to_send_is_closed(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        service = serve()
        service.is_draining = True
        wire = Wire(service, answer_ok, content_length="10", expect="100-continue")
        await asyncio.wait_for(wire.task, 1)  # nothing is read: that would ask for the body
        assert wire.status == 503
        assert dict(wire.sent[0]["headers"])[b"connection"] == b"close"

    asyncio.run(check())


@pytest.mark.parametrize("length", ["9" * 18, "9" * 19, "9" * 5000])
def test_enormous_declared_size_is_refused(serve: Callable[..., Any], length: str) -> None:
    async def check() -> None:
        wire = Wire(serve(), answer_ok, content_length=length)
        await asyncio.sleep(0.02)
        assert wire.status == 413
        wire.inbox.put_nowait({"type": "http.disconnect"})
        await wire.task

    asyncio.run(check())


def test_endless_body_is_discarded_up_to_a_limit(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        wire = Wire(serve(max_body=100), answer_ok, content_length="1000000")
        for _ in range(20):
            wire.push(b"x" * 10)
        await asyncio.wait_for(wire.task, 5)

    asyncio.run(check())


def test_slow_body_is_refused_at_the_deadline(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        wire = Wire(serve(deadline=0.1), answer_ok, content_length="100")
        wire.push(b"x")
        start = time.monotonic()
        while not wire.sent and time.monotonic() < start + 2:
            await asyncio.sleep(0.01)
        assert wire.status == 408
        wire.push(b"", more=False)
        await wire.task

    asyncio.run(check())


def test_request_that_takes_too_long_is_answered_with_504(serve: Callable[..., Any]) -> None:
    async def check() -> None:
        wire = Wire(serve(deadline=0.1), answer_never, content_length="1")
        wire.push(b"x", more=False)
        await asyncio.wait_for(wire.task, 5)
        assert wire.status == 504

    asyncio.run(check())


def test_client_that_leaves_cancels_its_request(serve: Callable[..., Any]) -> None:
    canceled = asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            canceled.set()
            raise

    async def check() -> None:
        service = serve()
        wire = Wire(service, wait, content_length="1")
        wire.push(b"x", more=False)
        await asyncio.sleep(0.05)
        wire.inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(wire.task, 5)
        assert canceled.is_set()
        assert wire.sent == []
        assert (service.metrics.canceled, service.admitted) == (1, 0)

    asyncio.run(check())
