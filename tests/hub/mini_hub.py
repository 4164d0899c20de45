"""A loopback server that speaks the hub's protocol to the real client, and misbehaves on request.

    with MiniHub() as hub:
        hub.add("owner/name", {"config.json": b"{}"}, lfs={"model.safetensors": weights})
        hub.fault("GET", "model.safetensors", cut=1000, how="rst", times=1)

Small files are served by the resolve address itself with git's sha1 as ETag; large ones redirect to
another host name, as the client follows redirects within a host. Nothing here is the hub's API.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

FOREVER = 1 << 30
# What tests put on it where the content does not matter.
REPOSITORY = "owner/tiny"
CONFIG = b'{"model_cfg": {"embed_dim": 16}}'
NAME = "open_clip_model.safetensors"
WEIGHTS = random.Random(1).randbytes(300_000)
NEW_WEIGHTS = random.Random(2).randbytes(300_000)


@dataclass
class Fault:
    """What goes wrong with requests of a method for a file; "" and "*" mean any."""

    method: str
    name: str
    times: int = FOREVER
    skip: int = 0  # so many requests pass before it begins
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)  # put in place of the right ones
    drop: tuple[str, ...] = ()
    body: bytes | None = None  # instead of the right one
    flip: int = -1  # which byte's lowest bit is inverted
    cut: int = -1  # after so many bytes of the body the connection ends
    how: str = "fin"  # or "rst"
    stall: float = 0.0  # seconds of silence before the answer, or where it is cut
    slow: float = 0.0  # seconds between 64 kB
    ignore_range: bool = False
    lie: int = 0  # bytes by which the announced size is off
    close: bool = False  # the connection ends before any answer


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    host: str
    range: str
    authorization: str
    agent: str


@dataclass
class Stored:
    content: bytes
    lfs: bool

    @property
    def etag(self) -> str:
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


class MiniHub:
    """Repositories by name, each with commits; the newest is branch main."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Forget all that was put here and asked for."""
        self.repositories: dict[str, dict[str, dict[str, Stored]]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.tokens: set[str] = set()  # when there are any, others are refused
        self.plain: dict[str, bytes] = {}  # files at addresses of their own
        self.faults: list[Fault] = []
        self.log: list[Request] = []

    def __enter__(self) -> MiniHub:
        hub = self

        class Handler(_Handler):
            mini = hub

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.cdn = f"http://localhost:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(
        self,
        repository: str,
        files: Mapping[str, bytes] | None = None,
        *,
        lfs: Mapping[str, bytes] | None = None,
        branch: str = "main",
    ) -> str:
        """Commit these files, and only these, to a branch; return the commit."""
        tree = {name: Stored(content, False) for name, content in (files or {}).items()}
        tree |= {name: Stored(content, True) for name, content in (lfs or {}).items()}
        commits = self.repositories.setdefault(repository, {})
        listing = json.dumps([len(commits), *sorted((n, s.etag) for n, s in tree.items())])
        commit = hashlib.sha1(listing.encode()).hexdigest()
        commits[commit] = tree
        self.branches[repository, branch] = commit
        return commit

    def fault(self, method: str = "*", name: str = "", **what: Any) -> Fault:
        """Let something go wrong from now on."""
        self.faults.append(Fault(method, name, **what))
        return self.faults[-1]

    def next_fault(self, method: str, name: str) -> Fault | None:
        with self._guard:
            for fault in self.faults:
                if fault.method in ("*", method) and fault.name in ("", name) and fault.times > 0:
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def requests(self, method: str = "", name: str = "") -> list[Request]:
        """What was asked for: of a method, with this text in the address."""
        return [r for r in list(self.log) if method in ("", r.method) and name in r.path]

    def pause(self, seconds: float) -> None:
        self._stop.wait(seconds)  # not time.sleep, which tests shorten


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are part of the game


class _Handler(BaseHTTPRequestHandler):
    mini: MiniHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for an acknowledgement

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        address = urlsplit(self.path)
        get = self.headers.get
        self.mini.log.append(
            Request(
                self.command,
                unquote(self.path),
                (get("Host") or "").split(":")[0],
                get("Range") or "",
                get("Authorization") or "",
                get("User-Agent") or "",
            )
        )
        parts = unquote(address.path).strip("/").split("/")
        if parts[0] == "lfs":
            name = parse_qs(address.query)["name"][0]
            content = self._find_blob(parts[1])
            self._answer(name, 200, {"ETag": f'"{parts[1]}"'}, content)
        elif unquote(address.path) in self.mini.plain:
            self._answer(parts[-1], 200, {}, self.mini.plain[unquote(address.path)])
        elif "resolve" in parts:
            at = parts.index("resolve")
            self._resolve("/".join(parts[:at]), parts[at + 1], "/".join(parts[at + 2 :]))
        else:
            self._answer(parts[-1], 404, {}, b"no such address")

    def _find_blob(self, etag: str) -> bytes:
        for commits in self.mini.repositories.values():
            for tree in commits.values():
                for stored in tree.values():
                    if stored.etag == etag:
                        return stored.content
        raise KeyError(etag)

    def _resolve(self, repository: str, revision: str, name: str) -> None:
        mini = self.mini
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        commits = mini.repositories.get(repository)
        if token and mini.tokens and token not in mini.tokens:
            message = "Invalid credentials in Authorization header"
            return self._answer(name, 401, {"X-Error-Message": message}, b"")
        if commits is None or (repository in mini.private and not token):
            return self._answer(name, 401, {"X-Error-Code": "RepoNotFound"}, b"")
        if repository in mini.gated and not token:
            return self._answer(name, 401, {"X-Error-Code": "GatedRepo"}, b"")
        commit = mini.branches.get((repository, revision), revision)
        if commit not in commits:
            return self._answer(name, 404, {"X-Error-Code": "RevisionNotFound"}, b"")
        stored = commits[commit].get(name)
        headers = {"X-Repo-Commit": commit}
        if stored is None:
            return self._answer(name, 404, headers | {"X-Error-Code": "EntryNotFound"}, b"")
        if not stored.lfs:
            return self._answer(name, 200, headers | {"ETag": f'"{stored.etag}"'}, stored.content)
        headers |= {
            "X-Linked-Etag": f'"{stored.etag}"',
            "X-Linked-Size": str(len(stored.content)),
            "Location": f"{mini.cdn}/lfs/{stored.etag}?name={name}",
        }
        return self._answer(name, 302, headers, b"")

    def _answer(self, name: str, status: int, headers: dict[str, str], content: bytes) -> None:
        fault = self.mini.next_fault(self.command, name) or Fault("", "")
        if fault.close:
            return self._hang_up(fault.how)
        if fault.stall and fault.cut < 0:
            self.mini.pause(fault.stall)
        if fault.status:
            status, content = fault.status, fault.body or b""
            headers = {}
        elif fault.body is not None:
            content = fault.body
        if fault.flip >= 0 and status == 200 and content:
            at = fault.flip % len(content)
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        size = len(content)
        wanted = self.headers.get("Range")
        if wanted and status == 200 and not fault.ignore_range:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= size:
                status, headers, content = 416, {"Content-Range": f"bytes */{size}"}, b""
            else:
                headers |= {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
                status, content = 206, content[start:]
        headers["Content-Length"] = str(max(0, len(content) + (fault.lie if content else 0)))
        if fault.lie and "X-Linked-Size" in headers:
            headers["X-Linked-Size"] = str(int(headers["X-Linked-Size"]) + fault.lie)
        headers |= dict(fault.headers)
        for header in fault.drop:
            headers.pop(header, None)
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(content, fault)
        if fault.lie:
            self.close_connection = True
        return None

    def _send(self, content: bytes, fault: Fault) -> None:
        end = len(content) if fault.cut < 0 else min(fault.cut, len(content))
        if not fault.slow:
            self.wfile.write(content[:end])
        else:
            for start in range(0, end, 1 << 16):
                self.wfile.write(content[start : min(end, start + (1 << 16))])
                self.mini.pause(fault.slow)
        if fault.cut >= 0:
            self.wfile.flush()
            self.mini.pause(fault.stall or 0.01)  # lets the client read what was sent
            self._hang_up(fault.how)

    def _hang_up(self, how: str) -> None:
        self.close_connection = True
        if how == "rst":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
