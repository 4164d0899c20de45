"""A server as a process: start, drain at SIGTERM, and its log."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.serving.live import LiveServer, Tally, flood
from zeroshot.errors import InputError, MissingPackage
from zeroshot.serving import server
from zeroshot.serving.settings import Settings

SERVERS = 3
CLIENTS = 32


@pytest.fixture(scope="module")
def servers(tiny_path: Path) -> Iterator[list[LiveServer]]:
    """Servers that start at the same time; one for each drain."""
    pytest.importorskip("fastapi", reason="requires the serve extra")
    pytest.importorskip("uvicorn", reason="requires the serve extra")
    started = [LiveServer(tiny_path) for _ in range(SERVERS)]
    try:
        yield [each.wait() for each in started]
    finally:
        for each in started:
            each.stop()


@pytest.mark.parametrize("number", range(SERVERS))
def test_no_request_in_progress_is_lost_at_sigterm(
    servers: list[LiveServer], jpeg: bytes, number: int
) -> None:
    live = servers[number]

    async def load() -> Tally:
        stop = asyncio.Event()
        task = asyncio.ensure_future(
            flood(live.port, [jpeg], clients=CLIENTS, stop=stop, stop_on=[503])
        )
        await asyncio.sleep(0.3 + 0.2 * random.Random(number).random())
        live.terminate()
        await asyncio.sleep(0.1)
        live.terminate()  # as by a supervisor that signals the process and its group
        await asyncio.sleep(1.3)
        stop.set()
        return await task

    tally = asyncio.run(load())

    assert live.stop() == 0
    assert set(tally.statuses) <= {200, 503}, tally.statuses
    assert tally.statuses[200] > CLIENTS
    assert 1 <= tally.statuses[503] <= CLIENTS


def test_log_has_one_json_object_per_line_without_user_data(servers: list[LiveServer]) -> None:
    lines = [json.loads(line) for line in servers[0].log]

    requests = [line for line in lines if line["event"] == "request"]
    assert {"id", "method", "route", "status", "ms", "images"} <= set(requests[0])
    assert requests[0]["route"] == "/v1/classify"
    assert "pets" not in "".join(servers[0].log)
    assert lines[-1]["event"] == "stopped"


def test_warnings_about_requests_are_not_logged_and_others_are_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with server._json_log():
        logging.getLogger("python_multipart").warning("Expected 66, got 83")
        logging.getLogger("PIL.TiffImagePlugin").warning("Corrupt EXIF data")
        warnings.warn("the image is transparent", stacklevel=1)
        logging.getLogger("asyncio").error("a fault")
        logging.getLogger("zeroshot.serving").info("listening")

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["a fault", "listening"]


def test_signal_before_the_server_listens_stops_it(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn", reason="requires the serve extra")
    monkeypatch.setattr(server, "_use_one_core", bool)  # this thread runs other tests, too
    service = serve()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        stopped = server._make_server(None, service, service.settings)
        stopped.handle_exit(signal.SIGTERM, None)
        stopped.run(sockets=[listener])

    assert service.is_draining


def test_only_the_thread_of_the_server_uses_one_core() -> None:
    ready, done = threading.Event(), threading.Event()

    def count_later() -> int:
        """The number of a thread that runs, and first uses torch after the server's thread."""
        ready.set()
        done.wait(10)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as batcher, ThreadPoolExecutor(1) as main:
        batchers = batcher.submit(count_later)
        ready.wait(10)
        main.submit(server._use_one_core).result()
        done.set()

        assert main.submit(torch.get_num_threads).result() == 1
        assert batchers.result() == torch.get_num_threads() == 2


def test_address_in_use_is_an_error_before_the_model_is_loaded() -> None:
    pytest.importorskip("fastapi", reason="requires the serve extra")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(InputError, match="cannot listen"):
            server.run(Settings("missing-model", port=taken.getsockname()[1]))


def test_unknown_host_is_an_error() -> None:
    with pytest.raises(InputError, match="cannot listen"):
        server.bind("no such host", 0)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PACKAGES", ("zeroshot", "no_such_package"))

    with pytest.raises(MissingPackage, match=r"no_such_package.*zeroshot-clip\[serve\]"):
        server.run(Settings("mini"))


def test_package_and_command_line_do_not_import_the_server() -> None:
    code = (
        "import sys, zeroshot.cli; "
        "print([n for n in ('fastapi', 'uvicorn', 'torch') if n in sys.modules])"
    )

    found: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert found.stdout.strip() == "[]", found.stderr
