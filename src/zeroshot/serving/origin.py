"""Refuse requests that a web page of another origin makes a browser send.

Without a key, every program of this machine can send requests, and a browser is one of them. A page
may send simple requests to any address. With DNS rebinding the page's own host name resolves to
loopback, so that the browser takes the server for a part of the page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from zeroshot.serving.errors import ApiError
from zeroshot.serving.settings import Settings, is_loopback

HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\s:\[\]/@]{1,253})(?::[0-9]{1,5})?")


def check_origin(headers: Mapping[bytes, Sequence[bytes]], settings: Settings) -> None:
    """Raise ApiError 421 for the host name of another server, 403 for another origin.

    With a key or with `insecure` every host and origin is allowed: a page does not have the key.
    """
    if settings.api_key is not None or settings.insecure:
        return
    hosts = [value.decode("latin-1").lower() for value in headers.get(b"host", ())]
    match = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    name = match[1].strip("[]") if match else ""
    if not is_loopback(name) and name != settings.host.lower():
        message = "this host name is not allowed; use localhost, or start the server with a key"
        raise ApiError(421, message, "host")
    for value in headers.get(b"origin", ()):
        if value.decode("latin-1").lower().partition("://")[2] != hosts[0]:
            raise ApiError(403, "requests of pages of another origin are not allowed", "origin")
