"""Images are downloaded within limits of size and time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import image_error_of, photograph, pixels_of
from zeroshot.images import download

PHOTO = photograph()


def test_a_url_with_spaces_and_accents_is_escaped(server: str) -> None:
    np.testing.assert_array_equal(pixels_of(f"{server}/mit Leerzeichen é.png?a=b%20c"), PHOTO)


def test_a_redirect_is_followed(server: str) -> None:
    np.testing.assert_array_equal(pixels_of(f"{server}/moved.png"), PHOTO)


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("/missing.png", "not_found", "404"),
        ("/page.png", "not_image", "web page"),
        ("/cut.png", "truncated", "truncated"),
        ("/to-file.png", "url_refused", "302"),
        ("/nonsense", "url_refused", "download failed"),
    ],
)
def test_a_failed_download_is_reported_with_its_cause(
    server: str, path: str, kind: str, says: str
) -> None:
    error = image_error_of(server + path)
    assert (error.kind, error.source) == (kind, server + path)
    assert says in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://127.0.0.1:1/x.png",
        "http://[::1/x",
        "http://a\nb/",
        "http://" + "a" * 300,
        "https://127.0.0.1:99999/x",
        "http://127.0.0.1:x/",
    ],
)
def test_invalid_or_unreachable_urls_raise_image_errors(url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 2.0)
    error = image_error_of(url)
    assert error.kind in ("url_refused", "timeout")
    assert "<urlopen" not in str(error)


def test_a_download_over_the_size_limit_is_rejected(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD", 20_000)
    assert image_error_of(f"{server}/endless.png").kind == "too_large_bytes"


def test_a_download_over_the_time_limit_is_rejected(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 0.2)
    assert image_error_of(f"{server}/slow.png").kind == "timeout"
