"""The settings of a server check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from zeroshot.errors import InputError
from zeroshot.serving.settings import Settings, is_loopback


def test_defaults_are_those_of_the_command() -> None:
    settings = Settings("mini")

    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.max_queue, settings.max_batch, settings.deadline) == (256, 32, 10.0)
    assert not settings.allow_urls


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"max_queue": 0}, "--max-queue"),
        ({"max_batch": 1.5}, "--max-batch"),
        ({"max_body": True}, "--max-body"),
        ({"deadline": float("nan")}, "--deadline"),
        ({"drain": -1}, "--drain"),
        ({"port": 70_000}, "--port"),
        ({"host": "0.0.0.0"}, "--insecure"),
        ({"host": "::"}, "--insecure"),
        ({"host": "example.com"}, "--insecure"),
        ({"api_key": ""}, "key"),
        ({"api_key": "a key"}, "key"),
        ({"api_key": "schlüssel"}, "key"),
        ({"heads": {"a/b": ["cat", "dog"]}}, "--head"),
        ({"heads": {"": ["cat", "dog"]}}, "--head"),
        ({"allow_labels": False}, "--no-labels"),
        ({"url_hosts": ["example.com"]}, "--allow-urls"),
    ],
)
def test_invalid_settings_are_rejected_in_words_of_the_options(
    options: dict[str, Any], word: str
) -> None:
    with pytest.raises(InputError, match=word) as caught:
        Settings("mini", **options)

    assert len(str(caught.value)) < 600


def test_other_addresses_are_accepted_with_a_key_or_insecure() -> None:
    assert Settings("mini", host="0.0.0.0", api_key="k" * 32).host == "0.0.0.0"
    assert Settings("mini", host="0.0.0.0", insecure=True).insecure


def test_key_is_not_shown() -> None:
    assert "secret" not in repr(Settings("mini", api_key="secret"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_addresses_need_no_key(host: str) -> None:
    assert is_loopback(host)
    assert Settings("mini", host=host).api_key is None


def test_request_has_at_most_as_many_images_as_the_queue() -> None:
    assert Settings("mini", max_queue=8).images_per_request == 8
