"""Only public addresses are accepted, and every address of a host is checked."""

from __future__ import annotations

import ipaddress
import random
import socket
import threading
import time
from typing import Any

import pytest

from zeroshot.serving import addresses
from zeroshot.serving.addresses import AddressRefused, is_public, resolve

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1"),
    *(
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
    ),
    *("192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1"),
    *(
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::1",
        "100::1",
    ),
    *(
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
    ),
    *("2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1"),
    *("fe80::1%1", "fec0::1", "ff02::1", "ff0e::1", "4000::1"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_of_special_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_text_that_is_no_address_is_not_public() -> None:
    assert not any(is_public(text) for text in ("", "localhost", "127.1", "8.8.8.8 ", "1.1.1.1/8"))


def test_no_public_address_is_private_in_python_either() -> None:
    numbers = random.Random(0)
    drawn = [ipaddress.IPv4Address(numbers.getrandbits(32)) for _ in range(3_000)]
    drawn += [ipaddress.IPv6Address(numbers.getrandbits(128)) for _ in range(1_000)]

    assert not [ip for ip in drawn if is_public(str(ip)) and not ip.is_global]


def answer_with(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_the_public_addresses_of_a_host_are_returned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, "8.8.8.8", "8.8.8.8", "1.1.1.1")

    assert resolve("dns.example", 443, 1) == ["8.8.8.8", "1.1.1.1"]


@pytest.mark.parametrize("found", [["8.8.8.8", "10.0.0.1"], ["::1", "1.1.1.1"], []])
def test_one_private_address_refuses_the_host(
    found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, *found)

    with pytest.raises(AddressRefused, match=r"not public|no address"):
        resolve("mixed.example", 443, 1)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
def test_an_unknown_host_is_refused(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(AddressRefused, match="not found"):
        resolve("nowhere.example", 80, 1)


def test_a_slow_resolver_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go.wait(5))
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        resolve("slow.example", 80, 0.1)

    assert time.monotonic() - began < 1
    go.set()


def test_the_number_of_resolutions_at_a_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_resolutions", threading.BoundedSemaphore(1))
    go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go.wait(5))
    with pytest.raises(TimeoutError, match="did not answer"):
        resolve("slow.example", 80, 0.05)

    with pytest.raises(TimeoutError, match="running"):
        resolve("other.example", 80, 0.05)

    go.set()
