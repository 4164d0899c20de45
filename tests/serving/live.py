"""A server as a process of its own, and clients that count how each request ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 60.0


class LiveServer:
    """`zeroshot serve` on a free port of loopback."""

    def __init__(self, model: str | Path, *options: str, **variables: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | variables
        words = ["serve", "--model", str(model), "--port", "0", "--head", "pets=cat,dog", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zeroshot", *words],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.log: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if '"listening"' in line:
                self._listening.set()
        self._listening.set()

    def wait(self) -> LiveServer:
        """Wait until the server listens."""
        assert self._listening.wait(START_SECONDS), "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)
        return self

    @property
    def port(self) -> int:
        line = next(line for line in self.log if '"listening"' in line)
        return int(re.findall(r":(\d+)$", json.loads(line)["url"])[0])

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask the server to stop and return its exit code."""
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


@dataclass
class Tally:
    """How requests ended."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    seconds: dict[int | str, list[float]] = field(default_factory=dict)
    bodies: list[Any] = field(default_factory=list)

    def add(self, status: int | str, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(seconds)

    def percentile(self, status: int | str, share: float) -> float:
        values = sorted(self.seconds.get(status, [0.0]))
        return values[min(len(values) - 1, int(share * len(values)))]


class Connection:
    """A kept-alive connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(self, path: str, body: bytes, headers: Sequence[str] = ()) -> tuple[int, bytes]:
        """POST a body and return the status and the answer."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        assert self.reader is not None
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        self.writer.write("\r\n".join([*lines, *headers, "", ""]).encode() + body)
        await self.writer.drain()
        return await self.read()

    async def read(self) -> tuple[int, bytes]:
        """Return the status and body of the next answer."""
        assert self.reader is not None
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        content = await self.reader.readexactly(int(length[1])) if length else b""
        if b"connection: close" in head:
            await self.close()
        return int(head.split()[1]), content

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()
        self.reader = self.writer = None


def post(port: int, body: bytes, path: str = "/v1/classify?head=pets") -> tuple[int, bytes]:
    """POST a body on a new connection and return the status and the answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request("POST", path, body)
        answer = client.getresponse()
        return answer.status, answer.read()


async def flood(
    port: int,
    bodies: Sequence[bytes],
    *,
    clients: int,
    stop: asyncio.Event,
    stop_on: Sequence[int] = (),
    pause: float = 0.0,
    path: str = "/v1/classify?head=pets",
    headers: Sequence[str] = (),
) -> Tally:
    """Send requests on kept-alive connections until `stop`; return how each one ended.

    A client that gets a status of `stop_on` ends, as does one whose connection is refused. After
    503 a client waits for `pause` seconds.
    """
    tally = Tally()

    async def run(number: int) -> None:
        connection = Connection(port)
        turn = number
        while not stop.is_set():
            start = time.monotonic()
            fresh = connection.writer is None
            try:
                status, _ = await asyncio.wait_for(
                    connection.send(path, bodies[turn % len(bodies)], headers), 30
                )
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                if fresh and connection.writer is None:
                    tally.add("refused", time.monotonic() - start)
                    return
                tally.add(type(error).__name__, time.monotonic() - start)
                await connection.close()
                if stop_on:
                    return
                continue
            tally.add(status, time.monotonic() - start)
            turn += 1
            if status in stop_on:
                break
            if status == 503:
                await asyncio.sleep(pause)
        await connection.close()

    await asyncio.gather(*(run(number) for number in range(clients)))
    return tally
