"""Run a server on loopback for the tests of request forms."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zeroshot


@contextmanager
def serving(model: zeroshot.Model, **options: Any) -> Iterator[str]:
    """Run a server in a thread; yield its URL."""
    import uvicorn

    from zeroshot.serving.app import create_app
    from zeroshot.serving.service import Service
    from zeroshot.serving.settings import Settings

    service = Service(model, Settings(model.name, **options))
    config = uvicorn.Config(create_app(service), port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    ready = threading.Event()
    startup = server.startup

    async def started(sockets: Any = None) -> None:
        await startup(sockets)
        ready.set()

    server.startup = started  # type: ignore[method-assign, unused-ignore]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ready.wait(10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        service.close()
