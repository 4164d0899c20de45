"""Without a network the name of a host is not found, and stays so: no long wait."""

from __future__ import annotations

import socket
import urllib.error
from pathlib import Path

import pytest

from zeroshot.errors import DownloadError
from zeroshot.hub import archives as publisher
from zeroshot.hub import client
from zeroshot.hub.failures import is_unresolved_host

NOT_FOUND = socket.gaierror(-2, "Name or service not known")


def _caused(error: Exception) -> Exception:
    outer = ConnectionError("no connection")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (NOT_FOUND, True),
        (_caused(_caused(NOT_FOUND)), True),
        (urllib.error.URLError(NOT_FOUND), True),
        (ConnectionResetError(104, "reset"), False),
        (urllib.error.URLError(TimeoutError()), False),
        (None, False),
    ],
)
def test_a_name_that_is_not_found_is_told_from_other_failures(
    error: Exception | None, wanted: bool
) -> None:
    assert is_unresolved_host(error) is wanted


def test_the_publisher_is_asked_twice_when_its_name_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def transfer(url: str, _: Path) -> bool:
        asked.append(url)
        raise urllib.error.URLError(NOT_FOUND)

    monkeypatch.setattr(publisher, "_transfer", transfer)
    monkeypatch.setattr(client, "backoff", lambda _: 0.0)
    with pytest.raises(DownloadError, match="failed after 2 attempts without progress"):
        publisher._download("https://nowhere.invalid/a.pt", tmp_path / "a.pt.incomplete")
    assert len(asked) == 2
