"""The routes of the page: content types, headers, and what the settings change."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from zeroshot.serving import page


def client(*, allow_labels: bool = True) -> Any:
    app = FastAPI()
    app.include_router(page.router(allow_labels=allow_labels))
    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")]
)
def test_files_of_the_page_have_their_type_and_security_headers(path: str, kind: str) -> None:
    answer = client().get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"text/{kind}; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client().head(path).headers["content-length"] == answer.headers["content-length"]


def test_page_without_free_labels_is_marked() -> None:
    assert page.OWN_LABELS in client().get("/").text
    assert page.OWN_LABELS not in client(allow_labels=False).get("/").text


def test_page_has_no_inline_code_and_no_address_of_another_host() -> None:
    texts = {path: client().get(path).text for path in page.FILES}

    for text in texts.values():
        assert not re.search(r"https?://|//\w+\.", text.replace("// ", ""))
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", texts["/"])
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", texts["/page.js"]
    )


def test_the_page_is_not_part_of_the_schema() -> None:
    assert client().get("/openapi.json").json()["paths"] == {}
