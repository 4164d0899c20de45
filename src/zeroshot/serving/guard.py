"""Check every request before its body is read, bound its size and time, and log it.

The order is: length, key, host and origin, draining, queue, declared size. A refused request is
answered at once; what the client still sends is then read and discarded for a moment, because
closing a socket with unread data would reset the connection before the client reads the answer.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
import traceback
import uuid
from collections.abc import Mapping
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zeroshot.serving.errors import (
    CODE,
    ApiError,
    busy,
    draining,
    internal,
    timed_out,
    to_body,
)
from zeroshot.serving.memory import SHARE, Share
from zeroshot.serving.origin import check_origin
from zeroshot.serving.page import PATHS
from zeroshot.serving.service import Service

log = logging.getLogger("zeroshot.serving")

REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
METHOD = re.compile(r"[A-Z]{1,16}")
LINGER_SECONDS = 2.0
DIGITS = 18  # of a declared size; int() rejects thousands of them
PROBES = frozenset({"/healthz", "/readyz"})
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}

Headers: TypeAlias = Mapping[bytes, list[bytes]]


class Guard:
    """An ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        key = service.settings.api_key
        self._key = None if key is None else key.encode()
        public = PROBES | (frozenset(PATHS) if service.settings.page else frozenset())
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        exchange = _Exchange(scope, receive, send, self._service)
        self._service.active += 1
        try:
            await self._answer(exchange)
        finally:
            self._service.active -= 1
            exchange.finish()

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            exchange.check_length()
            self._check_key(exchange)
            check_origin(exchange.headers, self._service.settings)
            if exchange.method == "POST":
                await self._answer_post(exchange)
            else:
                await self._run(exchange, exchange.receive)
        except ApiError as error:
            await exchange.refuse(error)
        except asyncio.CancelledError:
            if not self._service.is_draining:
                raise
            await exchange.refuse(draining())  # --drain is over, and uvicorn cancels the rest
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__)[-4:])  # without the message
            log.error(
                "request %s failed with %s\n%s", exchange.identity, type(error).__name__, where
            )
            await exchange.refuse(internal())

    def _check_key(self, exchange: _Exchange) -> None:
        """Raise ApiError 401 unless the path is public or the request has the key."""
        if self._key is None:
            return
        if exchange.method in ("GET", "HEAD") and exchange.path in self._public:
            return
        sent = exchange.headers.get(b"authorization", [])
        scheme, _, key = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
        matches = hmac.compare_digest(key.strip(b" "), self._key)
        if scheme.lower() != b"bearer" or not matches:
            raise ApiError(401, "missing or wrong key; send Authorization: Bearer KEY", "key")

    async def _answer_post(self, exchange: _Exchange) -> None:
        service = self._service
        if service.is_draining:
            raise draining()
        if not service.has_room:
            raise busy()
        share = exchange.scope[SHARE] = service.memory.share()
        share.check(exchange.length or 0)
        service.admitted += 1
        try:
            if (body := await self._read_body(exchange, share)) is not None:
                await self._run_bounded(exchange, body)
            else:
                service.metrics.canceled += 1
        finally:
            service.admitted -= 1
            share.release()

    async def _read_body(self, exchange: _Exchange, share: Share) -> bytes | None:
        """Return the body, or None if the client leaves.

        Raises ApiError if the body is too large or slow, or all bodies together are too large: a
        client may declare no length, and many may send at the same time.
        """
        pieces: list[bytes] = []
        deadline = time.monotonic() + self._service.settings.deadline
        while not exchange.is_read:
            message = await _receive_until(exchange, deadline)
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            exchange.is_read = not message.get("more_body", False)
            share.take(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    async def _run_bounded(self, exchange: _Exchange, body: bytes) -> None:
        """Run the application until it answers, the deadline passes or the client leaves."""
        left = asyncio.ensure_future(exchange.wait_for_disconnect())
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if pending:
                return pending.pop()
            await asyncio.shield(left)
            return {"type": "http.disconnect"}

        answer = asyncio.ensure_future(self._run(exchange, receive))
        try:
            await asyncio.wait(
                (answer, left),
                timeout=self._service.settings.deadline,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answer.done():
                await answer
            elif left.done():
                self._service.metrics.canceled += 1
            else:
                raise timed_out()
        finally:
            for task in (answer, left):
                task.cancel()
            await asyncio.gather(answer, left, return_exceptions=True)

    async def _run(self, exchange: _Exchange, receive: Receive) -> None:
        await self._app(exchange.scope, receive, exchange.send)


class _Exchange:
    """A request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self._service = service
        self._start = time.monotonic()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            self.headers.setdefault(name.lower(), []).append(value)
        sent = self.headers.get(b"x-request-id", [b""])[0].decode("latin-1")
        self.identity = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        self.status = 0  # of the answer that was started
        self.is_read = False
        self._seconds: float | None = None  # until the answer, if the body was discarded after it

    @property
    def length(self) -> int | None:
        """The declared length of the body, or None."""
        values = self.headers.get(b"content-length", [])
        if not values or not values[0].isdigit():
            return None
        return int(values[0][:DIGITS]) if len(values[0]) <= DIGITS else 10**DIGITS

    def check_length(self) -> None:
        """Raise ApiError 400 for two kinds of length: a proxy may believe the other one."""
        if b"content-length" in self.headers and b"transfer-encoding" in self.headers:
            message = "expected either Content-Length or Transfer-Encoding"
            raise ApiError(400, message, "length")

    @property
    def has_body(self) -> bool:
        """Whether the client sends a body that was not read."""
        return not self.is_read and bool(self.length or b"transfer-encoding" in self.headers)

    @property
    def _is_short(self) -> bool:
        """Whether the connection can be used again after the rest of the body."""
        is_known = self.length is not None and b"transfer-encoding" not in self.headers
        return is_known and (self.length or 0) <= self._service.settings.max_body

    async def send(self, message: Message) -> None:
        """Send a message of the answer with the headers of all answers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in HEADERS.items() if pair[0] not in present]
            headers.append((b"x-request-id", self.identity.encode()))
            if self._service.is_draining and b"connection" not in present:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Send an error unless an answer was started, then discard the rest of the body."""
        if self.status:
            return
        self.scope[CODE] = error.kind
        body = json.dumps(to_body(error, self.method, self.path)).encode()
        headers = [(b"content-type", b"application/json")]
        headers += [(b"content-length", str(len(body)).encode())]
        headers += [(n.lower().encode(), v.encode()) for n, v in error.headers.items()]
        lingers = self.has_body and b"expect" not in self.headers
        if self.has_body and not (lingers and self._is_short):
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": lingers})
        if lingers:
            self._seconds = time.monotonic() - self._start
            await self._discard()
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _discard(self) -> None:
        """Read the rest of the body for a moment, at most as much as a body may have."""
        total = 0
        deadline = time.monotonic() + LINGER_SECONDS
        while total <= self._service.settings.max_body:
            try:
                message = await asyncio.wait_for(self.receive(), deadline - time.monotonic())
            except TimeoutError:
                return
            total += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return

    async def wait_for_disconnect(self) -> None:
        """Return when the client has closed the connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def finish(self) -> None:
        """Count and log the request; the log has no query, label, key or image."""
        seconds = self._seconds or time.monotonic() - self._start
        if self.status:
            self._service.metrics.count(self.status, seconds)
        route = getattr(self.scope.get("route"), "path", None)
        facts: dict[str, Any] = {
            "id": self.identity,
            "method": self.method if METHOD.fullmatch(self.method) else "?",
            "route": route,
            "status": self.status or None,
            "ms": round(1000 * seconds, 1),
            "images": self.scope.get("zeroshot.images", 0),
        }
        if (code := self.scope.get(CODE)) is not None:
            facts["code"] = code
        log.info("request", extra={"facts": facts})


async def _receive_until(exchange: _Exchange, deadline: float) -> Message:
    """Return the next message of the body; raise ApiError 408 if it arrives too late."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            return await exchange.receive()
    except TimeoutError:
        raise ApiError(408, "the body did not arrive in time", "slow_body") from None
