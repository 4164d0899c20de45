"""Serve the page: one HTML file, a style sheet and a script, which load nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response

FOLDER = Path(__file__).with_name("page")
FILES = {  # path: file and content type
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
PATHS = tuple(FILES)
OWN_LABELS = 'data-own-labels="yes"'
HEADERS = {
    # blobs are the user's pictures, data: is the empty icon; answers come from this server only
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def router(*, allow_labels: bool) -> APIRouter:
    """Return the routes of the page and its files, for GET and HEAD."""
    found = APIRouter()
    for path, (name, kind) in FILES.items():
        content = (FOLDER / name).read_bytes()
        if not allow_labels:
            content = content.replace(OWN_LABELS.encode(), b'data-own-labels="no"')
        found.add_api_route(
            path, _answer(content, kind), methods=["GET", "HEAD"], include_in_schema=False
        )
    return found


def _answer(content: bytes, kind: str) -> Callable[[], Any]:
    async def answer() -> Response:
        return Response(content, media_type=kind, headers=HEADERS)

    return answer
