"""Connections whose request head does not arrive are closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="requires the serve extra")
import uvicorn

from zeroshot.serving.protocol import make_protocol

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.4)  # longer than the limit for the head
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def running(app: Any) -> AsyncIterator[uvicorn.Server]:
    """Run a server with short time limits."""
    config = uvicorn.Config(
        app,
        port=0,
        http=make_protocol(0.2, 0.5),
        lifespan="off",
        log_config=None,
        timeout_keep_alive=1,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server
    await server.shutdown()


async def talk(*pieces: bytes) -> tuple[bytes, float]:
    """Send pieces, return what the server sent until it closed, and the seconds."""
    async with running(app) as server:
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        start = time.monotonic()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.05)
            if reader.at_eof():
                break
        answer = await asyncio.wait_for(reader.read(), 10)
        seconds = time.monotonic() - start
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return answer, seconds


@pytest.mark.parametrize(
    "pieces", [(), (b"GET / HT",), tuple(GET[:-2][n : n + 1] for n in range(9))]
)
def test_connection_without_a_complete_head_is_closed(pieces: tuple[bytes, ...]) -> None:
    answer, seconds = asyncio.run(talk(*pieces))

    assert answer == b""
    assert seconds < 1


def test_slow_second_head_is_closed_too() -> None:
    answer, _ = asyncio.run(talk(GET, *[b""] * 9, b"GET / HT"))

    assert answer.count(b"204") == 1


def test_slow_answer_is_not_cut_off() -> None:
    answer, _ = asyncio.run(talk(GET))

    assert answer.startswith(b"HTTP/1.1 204")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="requires Linux")
def test_connection_of_a_client_that_does_not_read_is_closed() -> None:
    async def answer_much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 20_000_000})

    async def check() -> bool:
        async with running(answer_much) as server:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(server.servers[0].sockets[0].getsockname())
            client.sendall(GET)
            await asyncio.sleep(0.1)
            assert server.server_state.connections
            end = time.monotonic() + 10
            while server.server_state.connections and time.monotonic() < end:
                await asyncio.sleep(0.05)
            client.close()
            return not server.server_state.connections

    assert asyncio.run(check())


def test_garbage_after_the_answer_started_closes_the_connection_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def early(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await asyncio.sleep(0.2)

    async def check() -> None:
        async with running(early) as server:
            port = server.servers[0].sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head + b"5\r\nabcde\r\n")
            await asyncio.sleep(0.1)
            writer.write(b"zz\r\nfoo")
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 5)
            writer.close()

    asyncio.run(check())

    assert "Traceback" not in caplog.text
