"""Exceptions of the client become zeroshot errors that say what to do."""

from __future__ import annotations

import logging
import socket
import urllib.error

import pytest

from tests.hub.mini_hub import REPOSITORY, MiniHub
from zeroshot import errors, hub
from zeroshot.hub.failures import unresolved

NOT_FOUND = socket.gaierror(-2, "Name or service not known")


def _caused(error: Exception) -> Exception:
    outer = ConnectionError("no connection")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NOT_FOUND, True),
        (_caused(_caused(NOT_FOUND)), True),
        (urllib.error.URLError(NOT_FOUND), True),
        (ConnectionResetError(104, "reset"), False),
        (urllib.error.URLError(TimeoutError()), False),
        (None, False),
    ],
)
def test_unresolved_host_name_is_recognized(error: Exception | None, expected: bool) -> None:
    assert unresolved(error) is expected


def test_rejected_token_is_not_shown(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_and_secret")
    tiny_hub.tokens = {"hf_right"}

    with pytest.raises(errors.ModelAccessDenied, match="HF_TOKEN") as caught:
        hub.fetch(REPOSITORY)

    assert "hf_wrong_and_secret" not in str(caught.value)
    assert "hf_wrong_and_secret" not in caplog.text


def test_gated_repository_error_at_a_mirror_explains_that_the_login_is_not_sent(
    tiny_hub: MiniHub,
) -> None:
    tiny_hub.gated.add(REPOSITORY)

    with pytest.raises(errors.ModelAccessDenied, match="is not sent to"):
        hub.fetch(REPOSITORY)
