"""Exceptions of the client become zeroshot errors that say what to do."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from tests.hub.mini_hub import REPOSITORY, MiniHub
from zeroshot import errors, hub
from zeroshot.hub import failures
from zeroshot.hub.failures import is_unresolved_host
from zeroshot.hub.location import location_of

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
    assert is_unresolved_host(error) is expected


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


# ---- file system errors and answers


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"/cache: the disk is full .*free up space"),
        (errno.EDQUOT, r"/cache: the disk is full .*free up space"),
        (errno.EROFS, r"/cache/file: cannot write to the cache .*HF_HOME"),
        (errno.EACCES, r"/cache/file: cannot write to the cache .*HF_HOME"),
    ],
)
def test_file_system_error_becomes_a_cache_error(number: int, message: str) -> None:
    error = OSError(number, os.strerror(number), "/cache/file")

    found = failures.cache_write_error(error, Path("/cache"))

    assert type(found) is errors.CacheError
    assert re.search(message, str(found))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), ("0", 0.0), ("9999", 30.0), ("", 0.0), ("Fri, 31 Dec", 0.0), ("-3", 0.0)],
)
def test_retry_after_is_read_in_seconds_and_bounded(value: str, seconds: float) -> None:
    error = Exception()
    error.response = SimpleNamespace(headers={"Retry-After": value})  # type: ignore[attr-defined]

    assert failures.retry_after(error) == seconds


def test_error_without_an_answer_has_no_status_and_no_retry_after() -> None:
    assert failures.http_status(ValueError("x")) == 0
    assert failures.retry_after(ValueError("x")) == 0.0


def test_message_of_an_exception_is_one_short_line() -> None:
    assert failures.describe(ValueError("a\n  b")) == "ValueError: a b"
    assert failures.describe(KeyError()) == "KeyError"
    assert len(failures.describe(ValueError("x" * 1000))) < 250


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (OSError(errno.ENOSPC, "full"), False),
        (OSError(errno.EACCES, "denied"), False),
        (OSError("Consistency check failed: file should be of size 3"), True),
        (OSError("something else"), False),
        (ValueError("x"), False),
    ],
)
def test_only_errors_that_may_pass_are_retried(error: Exception, expected: bool) -> None:
    assert failures.is_transient(error, attempt=1) is expected


def test_unresolved_host_is_retried_once() -> None:
    error = OSError("no connection")
    error.__cause__ = NOT_FOUND

    assert failures.is_transient(error, attempt=1)
    assert not failures.is_transient(error, attempt=2)


def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(
    mini: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy.invalid:3128")
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    error = failures.translate(
        ConnectionError("refused"), location_of("owner/tiny", None, None, ()), "config.json"
    )

    assert "check that the proxy proxy.invalid:3128 is running" in str(error)
    assert "secret" not in str(error)
    monkeypatch.setenv("no_proxy", "hub.invalid")
    error = failures.translate(
        ConnectionError("refused"), location_of("owner/tiny", None, None, ()), "config.json"
    )
    assert "check the network" in str(error)
