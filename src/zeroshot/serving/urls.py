"""Download images from URLs that clients of the server send.

Such a URL must not reach the server's own network. A host is resolved once, every address must be
public, and the connection goes to a checked address. Each redirect is checked in the same way. The
URL that is checked is the URL that is used: one parser, which rejects what parsers read
differently. Clients get a generic message; the log has the reason.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import logging
import re
import socket
import ssl
import time
import urllib.parse
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from zeroshot.errors import ImageError, ImageProblem, shortened
from zeroshot.images.download import DOWNLOAD_SECONDS, MAX_DOWNLOAD
from zeroshot.serving.addresses import AddressRefused, resolve

MAX_REDIRECTS = 3
MAX_URL = 2_000  # characters
OVERHEAD = 262_144  # bytes of headers and chunk sizes beyond the image
REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}
HEADERS = {
    "User-Agent": "zeroshot",
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
# Printable ASCII without backslash, quotes and angle brackets, and no user name or password.
URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:[/?][!#-;=?-\[\]^_`a-z{|}~]*)?)",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)

log = logging.getLogger("zeroshot.serving")


class Target(NamedTuple):
    """A URL in parts."""

    scheme: str  # http or https
    host: str  # lower case, without brackets
    port: int
    path: str  # with the query

    @property
    def text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{self.path}"


class Refusal(Exception):
    """A URL is refused for a reason that the client does not get."""


def fetch(
    url: str,
    hosts: Sequence[str] = (),
    *,
    max_bytes: int = MAX_DOWNLOAD,
    deadline: float = DOWNLOAD_SECONDS,
) -> bytes:
    """Download an image of at most `max_bytes` bytes within `deadline` seconds.

    `hosts` limits the hosts, also those of redirects; ".example.com" stands for all hosts below
    example.com. Without `hosts` every public host is allowed.

    Raises ImageError of kind "url_refused", "timeout" or "too_large_bytes".
    """
    end = time.monotonic() + deadline
    try:
        target = parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            check_host(target.host, hosts)
            answer = request(target, max_bytes, end)
            if isinstance(answer, bytes):
                return answer
            target = parse(urllib.parse.urljoin(target.text, answer))
        raise Refusal(f"more than {MAX_REDIRECTS} redirects")
    except TimeoutError as error:
        raise refuse("timeout", "the image URL did not answer in time", error) from None
    except TooLarge as error:
        text = f"the image at the URL is larger than {max_bytes} bytes"
        raise refuse("too_large_bytes", text, error) from None
    except (Refusal, AddressRefused, http.client.HTTPException, OSError, ValueError) as error:
        raise refuse("url_refused", "the image URL cannot be used", error) from None


def refuse(kind: ImageProblem, text: str, reason: Exception) -> ImageError:
    """Log the reason and return the error that the client gets."""
    log.info("image URL: %s (%s)", text, ascii(shortened(str(reason), 200)))
    return ImageError(text, kind=kind)


def parse(url: str) -> Target:
    """Return the parts of a URL.

    Raises Refusal for everything that two parsers may read differently: other schemes and ports,
    user names, backslashes, spaces, control and non-ASCII characters, and numbers that the resolver
    takes for addresses.
    """
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise Refusal(f"not text of at most {MAX_URL} characters")
    match = URL.fullmatch(url.partition("#")[0])
    if match is None:
        raise Refusal("not a plain http or https URL")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if host.startswith("["):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        host = str(ipaddress.IPv4Address(host))  # 127.1 and 0x7f000001 are addresses to resolvers
    elif ".." in host:
        raise Refusal("an empty label in the host")
    else:
        host = host.removesuffix(".")
    if match["port"] is not None and int(match["port"]) != PORTS[scheme]:
        raise Refusal(f"port {match['port']}, expected {PORTS[scheme]} for {scheme}")
    path = match["target"]
    return Target(scheme, host, PORTS[scheme], path if path.startswith("/") else f"/{path}")


def check_host(host: str, hosts: Sequence[str]) -> None:
    """Raise Refusal if there is a list of hosts that does not contain the host."""
    names = [name.lower() for name in hosts]
    if names and not any(
        host.endswith(name) if name.startswith(".") else host == name for name in names
    ):
        raise Refusal(f"the host {host!r} is not in the list of allowed hosts")


def request(target: Target, max_bytes: int, end: float) -> bytes | str:
    """Return the body of a URL, or where it redirects to."""
    limit = 2 * max_bytes + OVERHEAD  # chunks may be small
    connection = http.client.HTTPConnection(target.host, target.port)
    with connect(target, end) as sock:
        connection.sock = Stream(sock, limit, end)
        connection.request("GET", target.path, headers=HEADERS)
        response = connection.getresponse()
        if response.status in REDIRECTS:
            return response.headers.get("Location") or ""
        if response.status != 200:
            raise Refusal(f"status {response.status}")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise Refusal("the answer is compressed, but the request asked for identity")
        return read(response, max_bytes)


def read(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Return the body; raise TooLarge as soon as its length is known to exceed `max_bytes`."""
    length = response.length
    if length is not None and length > max_bytes:
        raise TooLarge(f"Content-Length {length}")
    content = bytearray()
    while piece := response.read1(65_536):
        content += piece
        if len(content) > max_bytes:
            raise TooLarge(f"more than {max_bytes} bytes")
    if length is not None and len(content) != length:
        raise Refusal(f"got {len(content)} of {length} bytes")
    return bytes(content)


class TooLarge(Exception):
    """A body exceeds the limit."""


def connect(target: Target, end: float) -> socket.socket:
    """Connect to a checked address of the host. Its name is not resolved again."""
    addresses = resolve(target.host, target.port, end - time.monotonic())
    for last, address in enumerate(addresses, start=1 - len(addresses)):
        try:
            sock = socket.create_connection((address, target.port), timeout=left(end))
            break
        except OSError:
            if last == 0 or time.monotonic() >= end:
                raise
    if target.scheme == "http":
        return sock
    try:
        return certificates().wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise


@cache
def certificates() -> ssl.SSLContext:
    """Return the settings of TLS, with the system's certificates."""
    return ssl.create_default_context()


def left(end: float) -> float:
    """Return the seconds until `end`; raise TimeoutError if there are none."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


class Stream:
    """A socket with a deadline and a limit for all that is received, for HTTPConnection.

    A timeout of a socket is for one call: a server that sends one byte a second never exceeds it.
    """

    def __init__(self, sock: socket.socket, limit: int, end: float) -> None:
        self._sock, self._limit, self._end = sock, limit, end

    def sendall(self, content: bytes) -> None:
        self._sock.settimeout(left(self._end))
        self._sock.sendall(content)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(Received(self._sock, self._limit, self._end))

    def close(self) -> None:
        """Leave the socket open: HTTPConnection closes its side before the body is read."""


class Received(io.RawIOBase):
    """What a socket receives."""

    def __init__(self, sock: socket.socket, limit: int, end: float) -> None:
        self._sock, self._left, self._end = sock, limit, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(left(self._end))
        size = self._sock.recv_into(buffer)
        self._left -= size
        if self._left < 0:
            raise TooLarge("more bytes than the limit with its overhead")
        return size
