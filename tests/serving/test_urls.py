"""URLs of clients reach public addresses only, within limits of size, time and redirects."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from zeroshot.errors import ImageError
from zeroshot.serving import urls
from zeroshot.serving.urls import Refusal, fetch, parse

PUBLIC = "93.184.216.34"
IMAGE = bytes(range(256)) * 40
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(IMAGE)
NAMES = {  # what the resolver answers
    "public.example": [PUBLIC],
    "cdn.public.example": [PUBLIC],
    "two.example": [PUBLIC, "1.1.1.1"],
    "localhost": ["127.0.0.1"],
    "private.example": ["10.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "mixed6.example": [PUBLIC, "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "6to4.example": ["2002:7f00:1::1"],
    "multicast.example": ["224.0.0.1"],
    "azure.example": ["168.63.129.16"],
    "empty.example": [],
    "169.254.169.254.nip.example": ["169.254.169.254"],
}
TRICKS = [
    *("http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://0x7f000001/"),
    *("http://0x7f.1/", "http://0x7f.0.0.1/", "http://2130706433/", "http://0177.0.0.1/"),
    *("http://017700000001/", "http://127.0.0.1./", "http://127.0.0.01/", "http://0/"),
    *("http://0.0.0.0/", "http://00000000000000000000177.1/", "http://127.0.0.0x1/"),
    *("http://10.1.2.3/", "http://192.168.1.1/", "http://172.16.0.1/", "http://100.64.0.1/"),
    *("http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/"),
    *("http://169.254.43518/", "http://168.63.129.16/", "http://100.100.100.200/"),
    *("http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
    *("http://[::127.0.0.1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[64:ff9b::7f00:1]/"),
    *("http://[2002:7f00:1::1]/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/"),
    *("http://[fd00:ec2::254]/", "http://[fec0::1]/", "http://[ff02::1]/", "http://[::1/"),
    *("http://[v1.x]/", "http://[2001:0:7f00:1::1]/", "http://[]/", "http://::1/"),
    *("http://localhost/", "http://LOCALHOST/", "http://localhost./", "https://localhost/"),
    *("http://localhost:80/", "http://private.example/", "http://metadata.example/"),
    *("http://mixed.example/", "http://mixed6.example/", "http://mapped.example/"),
    *("http://nat64.example/", "http://6to4.example/", "http://multicast.example/"),
    *("http://azure.example/", "http://empty.example/", "http://unknown.example/"),
    *("http://169.254.169.254.nip.example/", "http://public.example@127.0.0.1/"),
    *("http://127.0.0.1@public.example/", "http://user:word@public.example/"),
    *("http://public.example:80@127.0.0.1/", "http://public.example\\@127.0.0.1/"),
    *("http://127.0.0.1\\.public.example/", "http:\\\\127.0.0.1/", "http:/\\127.0.0.1/"),
    *("http://public.example\\/../", "http://127.0.0.1%2f.public.example/", "http://%31%32%37.1/"),
    *("http://127%2e0%2e0%2e1/", "http://127。0。0。1/", "http://①②⑦.⓪.⓪.①/", "http://ⓛocalhost/"),
    *("http://loc\u00adalhost/", "http://public.example\u2025/", "http://münchen.example/"),
    *("http://\t127.0.0.1/", "http://127.0.0.1\t/", "http://local\nhost/", " http://127.0.0.1/"),
    *(
        "http://127.0.0.1 /",
        "http://public.example/\r\nHost: 127.0.0.1",
        "http://public.example/a b",
    ),
    *("ht\ttp://127.0.0.1/", "\x00http://127.0.0.1/", "http://127.0.0.1\x00.public.example/"),
    *("http:127.0.0.1", "http:/127.0.0.1/", "http:///127.0.0.1/", "//127.0.0.1/", "127.0.0.1"),
    *("file:///etc/passwd", "file://127.0.0.1/etc/passwd", "ftp://public.example/a.png"),
    *("gopher://public.example/_x", "data:image/png;base64,AAAA", "dict://public.example/"),
    *("jar:http://public.example!/", "ldap://public.example/", "javascript:alert(1)", "blob:x"),
    *("http+unix://%2Fvar%2Frun%2Fdocker.sock/", "url:http://127.0.0.1/", "HTTP://127.0.0.1/"),
    *("http://public.example:22/", "http://public.example:8080/", "http://public.example:443/"),
    *("https://public.example:80/", "http://public.example:0/", "http://public.example:99999/"),
    *("http://public.example:80:80/", "http://public.example:-80/", "http://public.example:8_0/"),
    *("http://public.example:", "http://public.example:/", "http://", "http://./", "http://../"),
    *("http://-/", "http://a..public.example/", "http://.public.example/", "http://*/", ""),
    *("http://" + "a" * 300 + "/", "http://public.example/" + "a" * 3_000, "http://?", "http://#"),
    *("http://#@127.0.0.1/", "http://?@127.0.0.1/", "http://127.0.0.1#@public.example/"),
    *("http://127.0.0.1?@public.example/", "http://public.example/<a>", 'http://public.example/"'),
]
Talk = Callable[[socket.socket, bytes], None]


class Net:
    """A resolver with NAMES, and a loopback server in place of every address."""

    def __init__(self) -> None:
        self.resolved: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.asked: list[bytes] = []  # requests
        self.answers: list[bytes | Talk] = []  # one per request; the last one repeats
        self.tls: ssl.SSLContext | None = None
        self.names = {host: list(found) for host, found in NAMES.items()}
        self._look_up = socket.getaddrinfo
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self._ended = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.resolved.append(host)
        if host in self.names:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in self.names[host]
            ]
        # the real resolver, for its own ideas of numbers
        return self._look_up(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    def create_connection(self, address: tuple[str, int], timeout: float = 9) -> socket.socket:
        self.connected.append(address)
        sock = socket.socket()
        sock.settimeout(timeout)
        sock.connect(self._listener.getsockname())
        return sock

    def _serve(self) -> None:
        while not self._ended:
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            sock.settimeout(5)
            with sock, suppress(OSError), self._secure(sock) as sock:  # the client may leave
                self.asked.append(sock.recv(65_536))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    sock.sendall(answer)
                else:
                    answer(sock, self.asked[-1])

    def _secure(self, sock: socket.socket) -> socket.socket:
        return self.tls.wrap_socket(sock, server_side=True) if self.tls else sock

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._listener.close()


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    net = Net()
    monkeypatch.setattr(socket, "getaddrinfo", net.getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", net.create_connection)
    yield net
    net.close()


def kind_of(url: Any, *hosts: str, **options: Any) -> str:
    """Return the kind of the error; its text has no part of the URL."""
    with pytest.raises(ImageError) as caught:
        fetch(url, hosts, **{"max_bytes": 100_000, "deadline": 0.6} | options)
    assert "example" not in str(caught.value)
    assert "127" not in str(caught.value)
    assert caught.value.source is None
    return caught.value.kind


def moved(to: str, status: int = 302) -> bytes:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
    return head.encode()


def test_an_image_at_a_public_address_is_downloaded(net: Net) -> None:
    net.answers = [OK + IMAGE]

    assert fetch("http://Public.example/a.png?b=%20c#d", deadline=5) == IMAGE
    assert net.connected == [(PUBLIC, 80)]
    lines = net.asked[0].decode().lower().split("\r\n")
    assert lines[0] == "get /a.png?b=%20c http/1.1"
    assert {"host: public.example", "accept-encoding: identity"} <= set(lines)
    assert not [line for line in lines if line.startswith(("cookie", "authorization", "proxy"))]


@pytest.mark.parametrize(
    "head",
    [
        OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(IMAGE),
    ],
)
def test_a_body_is_read_to_its_end(head: bytes, net: Net) -> None:
    net.answers = [head + IMAGE + (b"\r\n0\r\n\r\n" if b"chunked" in head else b"")]

    assert fetch("http://public.example/", deadline=5) == IMAGE


def test_urls_that_lead_to_other_addresses_connect_nowhere(net: Net) -> None:
    net.answers = [OK + IMAGE]

    kinds = {url: kind_of(url) for url in TRICKS}

    assert len(kinds) >= 120
    assert {url for url, kind in kinds.items() if kind != "url_refused"} == set()
    assert net.connected == []


@pytest.mark.parametrize("url", [None, 3, b"http://public.example/", ["http://public.example/"]])
def test_urls_that_are_not_text_are_refused(url: Any, net: Net) -> None:
    assert kind_of(url) == "url_refused"
    assert net.resolved == []


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.01"])
def test_numbers_that_resolvers_take_for_addresses_are_not_resolved(host: str, net: Net) -> None:
    assert kind_of(f"http://{host}/") == "url_refused"
    assert net.resolved == []


def test_a_redirect_to_a_public_address_is_followed(net: Net) -> None:
    net.answers = [moved("//cdn.public.example/b"), moved("c?d"), moved("/e", 307), OK + IMAGE]

    assert fetch("http://public.example/a", deadline=5) == IMAGE
    assert [line.split()[1] for line in net.asked] == [b"/a", b"/b", b"/c?d", b"/e"]


def test_redirects_are_checked_as_the_url_is(net: Net) -> None:
    tricks = [url for url in TRICKS if "://" in url[:9] and url.isprintable()]

    for url in tricks:
        net.answers = [moved(url)]
        assert kind_of("http://public.example/a", deadline=5) == "url_refused", url

    assert len(tricks) >= 90
    assert set(net.connected) == {(PUBLIC, 80)}


def test_redirect_loops_end_after_three_redirects(net: Net) -> None:
    net.answers = [moved("/a")]

    assert kind_of("http://public.example/a", deadline=5) == "url_refused"
    assert len(net.connected) == 4


def test_a_host_is_resolved_once_and_the_checked_address_is_used(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second answer of the resolver differs, as in DNS rebinding."""
    net.answers = [OK + IMAGE]
    found = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    look_up = net.getaddrinfo

    def changing(host: str, port: int, **options: Any) -> list[Any]:
        net.names["rebind.example"] = next(found)
        return look_up(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)

    assert fetch("http://rebind.example/", deadline=5) == IMAGE
    assert net.resolved == ["rebind.example"]
    assert net.connected == [(PUBLIC, 80)]
    assert kind_of("http://rebind.example/") == "url_refused"
    assert net.connected == [(PUBLIC, 80)]


def test_the_next_address_is_tried_when_one_does_not_answer(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.answers = [OK + IMAGE]

    def refuse_first(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == PUBLIC:
            raise ConnectionRefusedError
        return net.create_connection(address, timeout)

    monkeypatch.setattr(socket, "create_connection", refuse_first)

    assert fetch("http://two.example/", deadline=5) == IMAGE
    assert kind_of("http://public.example/") == "url_refused"


def test_a_list_of_hosts_excludes_other_hosts_and_redirects_to_them(net: Net) -> None:
    net.answers = [OK + IMAGE]

    assert fetch("http://public.example/", ["public.example"], deadline=5) == IMAGE
    assert fetch("http://cdn.public.example/", [".public.example"], deadline=5) == IMAGE
    assert kind_of("http://cdn.public.example/", "public.example") == "url_refused"
    assert kind_of("http://notpublic.example/", ".public.example") == "url_refused"
    assert kind_of("http://localhost/", "localhost") == "url_refused"
    net.answers = [moved("http://two.example/")]
    assert kind_of("http://public.example/", "public.example") == "url_refused"
    assert {ip for ip, _ in net.connected} == {PUBLIC}


@pytest.mark.parametrize("head", [OK, b"HTTP/1.1 200 OK\r\n\r\n"], ids=["length", "no length"])
def test_the_limit_of_bytes_is_exact(head: bytes, net: Net) -> None:
    net.answers = [head + IMAGE]

    assert fetch("http://public.example/", max_bytes=len(IMAGE), deadline=5) == IMAGE
    assert kind_of("http://public.example/", max_bytes=len(IMAGE) - 1) == "too_large_bytes"


def trickle(head: bytes, piece: bytes, pause: float) -> Talk:
    def talk(sock: socket.socket, _: bytes) -> None:
        sock.sendall(head)
        ends = time.monotonic() + 2
        while time.monotonic() < ends:
            sock.sendall(piece)
            time.sleep(pause)

    return talk


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_SERVERS: dict[str, tuple[bytes | Talk, str]] = {
    "terabyte": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", "too_large_bytes"),
    "endless": (trickle(b"HTTP/1.1 200 OK\r\n\r\n", bytes(60_000), 0), "too_large_bytes"),
    "endless chunks": (trickle(CHUNKED, b"ea60\r\n%b\r\n" % bytes(60_000), 0), "too_large_bytes"),
    "tiny chunks": (trickle(CHUNKED, b"1;%b\r\na\r\n" % (b"x" * 60_000), 0), "too_large_bytes"),
    "drip": (trickle(OK, b"a", 0.05), "timeout"),
    "dripping head": (trickle(b"HTTP/1.1 200 OK\r\nA: ", b"a", 0.05), "timeout"),
    "endless head": (trickle(b"HTTP/1.1 200 OK\r\n", b"A: a\r\n", 0), "url_refused"),
    "endless line": (trickle(b"", b"a" * 9_000, 0), "url_refused"),
    "continue for ever": (
        trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0),
        "too_large_bytes",
    ),
    "silent": (lambda sock, _: time.sleep(0.8), "timeout"),
    "closed": (b"", "url_refused"),
    "short body": (OK + b"abc", "url_refused"),
    "short chunk": (CHUNKED + b"ff\r\nabc", "url_refused"),
    "not http": (b"SSH-2.0-OpenSSH_9.9\r\n", "url_refused"),
    "missing": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "url_refused"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "url_refused"),
    "redirect without a target": (b"HTTP/1.1 302 Found\r\n\r\n", "url_refused"),
    "compressed": (
        OK.replace(b"OK\r\n", b"OK\r\nContent-Encoding: gzip\r\n") + IMAGE,
        "url_refused",
    ),
}


@pytest.mark.parametrize("name", BAD_SERVERS)
def test_bad_servers_are_refused_within_the_deadline(name: str, net: Net) -> None:
    answer, kind = BAD_SERVERS[name]
    net.answers = [answer]
    began = time.monotonic()

    assert kind_of("http://public.example/") == kind
    assert time.monotonic() - began < 1.5


def test_a_server_without_tls_is_refused(net: Net) -> None:
    net.answers = [OK + IMAGE]

    assert kind_of("https://public.example/", deadline=3) == "url_refused"
    assert net.connected == [(PUBLIC, 443)]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="requires openssl")
def test_the_certificate_must_be_trusted_and_name_the_host(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=public.example"
    command += " -addext subjectAltName=DNS:public.example"
    arguments = [*command.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(arguments, check=True, capture_output=True)
    net.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    net.tls.load_cert_chain(certificate, key)
    net.answers = [OK + IMAGE]

    assert kind_of("https://public.example/", deadline=5) == "url_refused"
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(urls, "certificates", lambda: trusting)
    assert fetch("https://public.example/", deadline=5) == IMAGE
    assert kind_of("https://cdn.public.example/", deadline=5) == "url_refused"


def test_proxies_of_the_environment_are_not_used(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    net.answers = [OK + IMAGE]

    fetch("http://public.example/", deadline=5)

    assert net.connected == [(PUBLIC, 80)]


def test_the_reason_is_in_the_log_without_path_and_query(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zeroshot")

    kind_of("http://private.example/a?token=secret")

    assert "10.0.0.1" in caplog.text
    assert "secret" not in caplog.text


def test_a_port_is_accepted_if_it_is_that_of_the_scheme() -> None:
    assert parse("https://public.example:443/a").port == 443
    assert parse("http://public.example:080?a").path == "/?a"
    with pytest.raises(Refusal, match="port 8443"):
        parse("https://public.example:8443/")


def test_ipv6_addresses_and_final_dots_are_normalized() -> None:
    assert parse("http://[2606:4700:0::1111]/").host == "2606:4700::1111"
    assert parse("http://Public.Example./").host == "public.example"
    assert parse("http://[2606:4700::1111]/a").text == "http://[2606:4700::1111]/a"


def test_the_certificates_are_loaded_once() -> None:
    assert urls.certificates() is urls.certificates()
    assert urls.certificates().check_hostname
