"""Images and fields of requests."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from zeroshot.errors import ImageError
from zeroshot.serving.settings import Settings

pytest.importorskip("fastapi", reason="requires the serve extra")
from zeroshot.serving import images
from zeroshot.serving.errors import ApiError
from zeroshot.serving.memory import SHARE, Memory, Share

PATH = "/v1/classify?head=pets"
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}


def read(image: object, share: Share | None = None, **options: Any) -> bytes:
    settings = Settings("tiny", **options)
    request: Any = SimpleNamespace(scope={SHARE: share or Memory(settings.max_body).share()})
    return asyncio.run(images.read_image(image, request, settings))


@pytest.mark.parametrize(
    "text",
    ["AAEC", "AAEC\n", " AA EC ", "data:image/png;base64,AAEC", "DATA:;BASE64,AAEC"],
)
def test_base64_and_data_urls_are_read(text: str) -> None:
    assert read(text) == b"\0\1\2"


def test_base64_without_padding_is_read() -> None:
    assert read("AAE") == b"\0\1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "A",
        "data:image/png,AAEC",
        "data:image/png;base64",
        "/etc/passwd.",
        "é",
        None,
        7,
        {},
    ],
)
def test_other_text_is_rejected(text: object) -> None:
    with pytest.raises(ApiError) as caught:
        read(text)
    assert caught.value.status == 422


@pytest.mark.parametrize("url", ["http://example.com/a.jpg", "HTTPS://example.com/a.jpg"])
def test_urls_are_refused_by_default(url: str) -> None:
    with pytest.raises(ApiError, match="URLs of images are not accepted"):
        read(url)


def test_urls_are_downloaded_if_they_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetch(url: str, hosts: Any, *, max_bytes: int, deadline: float) -> bytes:
        asked.append((url, hosts, max_bytes, deadline))
        if "bad" in url:
            raise ImageError("http://10.0.0.1 is private", kind="url_refused")
        if "large" in url:
            raise ImageError("more than 8 bytes", kind="too_large_bytes")
        return b"image"

    monkeypatch.setitem(sys.modules, "zeroshot.serving.urls", SimpleNamespace(fetch=fetch))

    assert read("http://a.example/a", allow_urls=True, url_hosts=("a.example",)) == b"image"
    assert asked == [("http://a.example/a", ("a.example",), 20_000_000, 10.0)]
    with pytest.raises(ApiError) as caught:
        read("http://a.example/bad", allow_urls=True)
    assert "10.0.0.1" not in caught.value.message
    with pytest.raises(ApiError) as caught:
        read("http://a.example/large", allow_urls=True)
    assert caught.value.status == 413
    share = Memory(8).share()
    assert read("http://a.example/a", share, allow_urls=True) == b"image"
    assert (asked[-1][2], share.left) == (8, 3)
    with pytest.raises(ApiError, match="at most 8 bytes in a request"):
        read("http://a.example/a", share, allow_urls=True)


def test_nothing_is_downloaded_before_the_other_fields_are_valid(
    serve: Callable[..., Any], client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = SimpleNamespace(fetch=lambda *_, **__: pytest.fail("downloaded"))
    monkeypatch.setitem(sys.modules, "zeroshot.serving.urls", stub)
    client = client_of(serve(allow_urls=True))
    for fields in ({"head": "none"}, {"labels": []}, {"head": "pets", "top": 0}):
        answer = client.post("/v1/classify", json={"images": ["http://a.example/a"], **fields})
        assert answer.status_code in (404, 422)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b"[" * 100_000, b"\xff", b'{"image": 1e999}']
)
def test_invalid_json_is_rejected(client: Any, body: bytes) -> None:
    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "fields", [{}, {"image": "AAEC", "images": []}, {"images": []}, {"images": "AAEC"}]
)
def test_json_without_images_is_rejected(client: Any, fields: dict[str, Any]) -> None:
    assert client.post("/v1/classify", json={"head": "pets", **fields}).status_code == 422


def test_empty_body_is_rejected(client: Any) -> None:
    assert client.post(PATH).status_code == 422


def test_more_images_than_allowed_are_rejected(client: Any, jpeg: bytes) -> None:
    text = base64.b64encode(jpeg).decode()

    assert client.post(PATH, json={"head": "pets", "images": [text] * 65}).status_code == 422
    assert client.post(PATH, files=[("image", b"x")] * 65).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"--b--\r\n",
        b"--b\r\n\r\nx\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="labels"; filename="f"\r\n\r\nx\r\n--b--\r\n',
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % n for n in range(50)
        )
        + b"--b--\r\n",
    ],
)
def test_malformed_forms_are_rejected(client: Any, body: bytes) -> None:
    assert client.post(PATH, content=body, headers=BOUNDARY).status_code == 422


def test_form_without_boundary_is_rejected(client: Any) -> None:
    headers = {"Content-Type": "multipart/form-data"}

    assert client.post(PATH, content=b"x", headers=headers).status_code == 422


def test_large_files_of_a_form_stay_in_memory(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a file was written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", fail)

    assert client.post(PATH, files={"image": b"x" * 3_000_000}).status_code == 422


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a, b,,c", ["a", "b", "c"]),
        ('"a, b",c', ["a, b", "c"]),
        ('["a", "b"]', ["a", "b"]),
        ('{"a": ["b"]}', {"a": ["b"]}),
        (["a"], ["a"]),
        (None, None),
    ],
)
def test_labels_are_commas_or_json(value: object, expected: object) -> None:
    assert images.parse_labels(value) == expected


def test_labels_that_are_broken_json_are_rejected() -> None:
    with pytest.raises(ApiError, match="JSON"):
        images.parse_labels('["a"')


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=UTF-8", "text/json", "a/b"])
def test_body_of_an_unsupported_type_is_refused(client: Any, jpeg: bytes, kind: str) -> None:
    answer = client.post(PATH, content=jpeg, headers={"Content-Type": kind})

    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "content_type"


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_body_of_an_image_type_or_of_curl_is_read(client: Any, jpeg: bytes, kind: str) -> None:
    assert client.post(PATH, content=jpeg, headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1/embeddings"])
@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_json_of_another_type_is_refused(client: Any, path: str, kind: str) -> None:
    answer = client.post(path, content=b'{"input": "cat"}', headers={"Content-Type": kind})

    assert answer.status_code == 415


@pytest.mark.parametrize("values", [b"[],", b"{},", b"1,"])
def test_json_of_too_many_values_is_refused_before_it_is_parsed(client: Any, values: bytes) -> None:
    body = b'{"image": [' + values * 300_000 + b"1]}"

    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert "values" in answer.json()["error"]["message"]


def test_long_text_of_labels_is_refused_before_it_is_parsed(client: Any, jpeg: bytes) -> None:
    answer = client.post(
        "/v1/classify", data={"labels": "a," * 300_000}, files={"image": ("a.jpg", jpeg)}
    )

    assert answer.status_code == 422
    assert "characters" in answer.json()["error"]["message"]
