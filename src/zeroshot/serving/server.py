"""Run a server: load the model, listen, and finish requests after SIGTERM.

uvicorn alone closes kept-alive connections at SIGTERM, and clients see resets. Here the server
first answers `Connection: close` for a second, then waits for the requests in progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from zeroshot.errors import InputError, MissingPackage, shortened
from zeroshot.serving.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

    from zeroshot.model import Model

PACKAGES = ("fastapi", "uvicorn", "python_multipart")  # of the extra
log = logging.getLogger("zeroshot.serving")
LEVELS = {  # of each logger; the first one is that of all others
    "": logging.WARNING,
    "zeroshot.serving": logging.INFO,
    "uvicorn": logging.WARNING,
    "PIL": logging.CRITICAL,
    "python_multipart": logging.CRITICAL,  # its messages contain bytes of bodies
}

NOTICE_SECONDS = 1.0  # how long clients are told that connections close
KEEP_ALIVE_SECONDS = 15
HEADER_SECONDS = 15.0  # until the headers of a request must have arrived
BACKLOG = 2048  # connections that wait to be accepted


def check_packages() -> None:
    """Raise MissingPackage if the extra is not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingPackage(
            f"zeroshot serve requires packages that are not installed: {', '.join(missing)}; run: "
            "pip install 'zeroshot-clip[serve]'"
        )


def run(settings: Settings, load: Callable[[], Model] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code 0.

    `load` returns the model; by default that of the settings is loaded. Raises MissingPackage
    without the extra, InputError if the address is in use, and what `zeroshot.load` raises.
    """
    check_packages()
    listener = bind(settings.host, settings.port)  # before the model is loaded: it fails early
    with contextlib.closing(listener):
        from zeroshot.serving.app import create_app
        from zeroshot.serving.service import Service

        service = Service(load() if load else _load(settings), settings)
        try:
            service.warm_up()
            with _json_log():
                _make_server(create_app(service), service, settings).run(sockets=[listener])
        finally:
            service.close()
    return 0


def _load(settings: Settings) -> Model:
    from zeroshot.loading import load

    return load(settings.model, max_pixels=settings.max_pixels)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address; raise InputError if that fails."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if sys.platform != "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"cannot listen on --host {shortened(host)} --port {port}: "
            f"{getattr(error, 'strerror', None) or error}; choose another --host or --port; port 0 "
            "selects a free one"
        ) from error
    return listener


def _make_server(app: Any, service: Any, settings: Settings) -> Any:
    """Return a uvicorn server that drains. uvicorn is imported here: it is optional."""
    import uvicorn

    from zeroshot.serving.protocol import make_protocol

    class Server(uvicorn.Server):
        """A server that finishes its requests when it is asked to stop."""

        _loop: asyncio.AbstractEventLoop | None = None  # while it listens
        _drains: asyncio.Task[None] | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Use one core for the small operations of this thread, then listen."""
            _use_one_core()
            self._loop = asyncio.get_running_loop()
            await super().startup(sockets)
            log.info("listening", extra={"facts": {"url": _url_of((sockets or [])[0])}})

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Drain at the first signal; a second Ctrl-C stops at once, a second SIGTERM waits."""
            if service.is_draining:
                if sig == signal.SIGINT:
                    self.force_exit = self.should_exit = True
                return
            service.is_draining = True
            if self._loop is None:
                self.should_exit = True
            else:
                self._loop.call_soon_threadsafe(self._start_drain)

        def _start_drain(self) -> None:
            log.info("draining", extra={"facts": {"active": service.active}})
            self._drains = asyncio.ensure_future(self._drain())

        async def _drain(self) -> None:
            await asyncio.sleep(NOTICE_SECONDS)
            end = time.monotonic() + settings.drain
            while service.active and time.monotonic() < end:
                await asyncio.sleep(0.02)
            service.stop_builds()
            log.info("stopped", extra={"facts": {"active": service.active}})
            self.should_exit = True

    config = uvicorn.Config(
        app,
        http=make_protocol(HEADER_SECONDS),
        ws="none",
        lifespan="off",
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
    )
    return Server(config)


def _url_of(listener: socket.socket) -> str:
    """Return the address of a server."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _use_one_core() -> None:
    """Let torch use one core in this thread, whose operations are small, and all in the others."""
    import torch

    from zeroshot.engine.cpu.workers import become_worker

    cores = torch.get_num_threads()
    become_worker()
    # what a thread sets is also the initial value of threads that first use torch later, such as
    # the batcher's; setting it again in another thread restores that
    other = threading.Thread(target=torch.set_num_threads, args=(cores,))
    other.start()
    other.join()


class _JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        facts: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        facts |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0] is not None:
            facts["exception"] = record.exc_info[0].__name__  # its text may contain user data
        return json.dumps(facts)


@contextlib.contextmanager
def _json_log() -> Iterator[None]:
    """Write the log of the server, and warnings of other packages, as JSON lines on stderr.

    Warnings about the images of clients are left out: the answers have the errors.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    kept = []
    for name, level in LEVELS.items():
        logger = logging.getLogger(name)
        kept.append((logger, logger.level, logger.propagate))
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = name == ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level, propagate in kept:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
