"""Requests of web pages to a server without a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PATH = "/v1/classify?head=pets"
OWN = ("localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.8.9.1", "[::1]", "[::1]:8000")
OTHERS = (
    "",
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "localhost:8000:1",
    "[::1]evil",
    "[evil.example]",
    "10.0.0.1",
    "0.0.0.0",
    "localhost, evil.example",
    "é",
)
ORIGINS = (
    "null",
    "",
    "http://evil.example",
    "http://localhost:3000",
    "http://localhost.evil.example",
    "http://evil.example://localhost",
    "chrome-extension://abcdef",
)


@pytest.mark.parametrize("host", OWN)
def test_host_of_this_machine_is_answered(client: Any, jpeg: bytes, host: str) -> None:
    assert client.post(PATH, content=jpeg, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", OTHERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_host_name_of_another_server_is_refused(client: Any, method: str, host: str) -> None:
    answer = client.request(method, "/v1/heads", headers={"Host": host.encode("latin-1")})

    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "host"


def test_two_host_names_are_refused(client: Any) -> None:
    headers = [("Host", "localhost"), ("Host", "evil.example")]

    assert client.get("/v1/heads", headers=headers).status_code == 421


@pytest.mark.parametrize("origin", ORIGINS)
def test_page_of_another_origin_is_refused(client: Any, jpeg: bytes, origin: str) -> None:
    answer = client.post(PATH, files={"image": jpeg}, headers={"Origin": origin})

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin"


def test_own_page_is_answered(client: Any, jpeg: bytes) -> None:
    for origin in ("http://localhost", "https://LOCALHOST"):
        assert client.post(PATH, content=jpeg, headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize("options", [{"api_key": "k"}, {"insecure": True}], ids=["key", "insecure"])
def test_server_for_other_machines_has_any_host_name(
    serve: Callable[..., Any], client_of: Callable[..., Any], options: dict[str, Any]
) -> None:
    headers = {"Host": "a.example", "Origin": "http://b.example", "Authorization": "Bearer k"}

    assert client_of(serve(**options)).get("/v1/heads", headers=headers).status_code == 200
