"""Close connections whose request headers do not arrive, or whose answer is not read."""

from __future__ import annotations

import asyncio
import logging
import socket
from importlib import import_module
from importlib.util import find_spec
from typing import Any

log = logging.getLogger("zeroshot.serving")
H11 = "h11_impl", "H11Protocol"
HTTPTOOLS = "httptools_impl", "HttpToolsProtocol"  # faster, not required


def make_protocol(seconds: float, unread_seconds: float = 30.0) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol class with time limits.

    `seconds` is for the headers of each request, `unread_seconds` until the client reads some more
    of an answer, which is in memory until then. Only Linux has the second one.
    """
    module, name = HTTPTOOLS if find_spec("httptools") is not None else H11
    base: Any = getattr(import_module(f"uvicorn.protocols.http.{module}"), name)

    class Protocol(base):
        """A protocol that waits for the headers of a request for some seconds."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            option = getattr(socket, "TCP_USER_TIMEOUT", None)
            if option is not None:
                raw = transport.get_extra_info("socket")
                raw.setsockopt(socket.IPPROTO_TCP, option, round(1000 * unread_seconds))
            self._start_timer()

        def data_received(self, data: bytes) -> None:
            try:
                super().data_received(data)
            except Exception as error:  # uvicorn refuses a request whose answer has started
                log.warning("closed a connection after %s", type(error).__name__)
                self.transport.abort()
                return
            if self._is_idle():
                self._start_timer()
            else:
                self._stop_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _is_idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _start_timer(self) -> None:
            if self._timer is None:  # the head as a whole has a limit, not each of its pieces
                self._timer = asyncio.get_running_loop().call_later(seconds, self._close_idle)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _close_idle(self) -> None:
            self._timer = None
            if self._is_idle() and not self.transport.is_closing():
                self.transport.close()

    return Protocol
