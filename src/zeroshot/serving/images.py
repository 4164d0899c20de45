"""Read the images and fields of a request: raw bytes, multipart, or JSON with base64 or URLs."""

from __future__ import annotations

import asyncio
import base64
import csv
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from zeroshot.errors import ImageError, shortened
from zeroshot.serving.errors import ApiError, image_problem, too_large
from zeroshot.serving.memory import SHARE, Share
from zeroshot.serving.settings import Settings

LARGE = 500_000  # bytes of JSON or base64 that are decoded in a thread
URL_SECONDS = 15.0
FIELDS = 16  # of a multipart request, besides images
VALUES = 250_000  # of JSON; parsing more blocks all other requests for a second

# Without a type, and the one that curl --data-binary sends, for images only.
RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")

_downloads = ThreadPoolExecutor(8, "zeroshot-download")


@dataclass(frozen=True)
class Upload:
    """The images of a request, each as bytes or as text that `read_image` reads, and its fields."""

    images: list[Any]
    fields: Mapping[str, Any]
    is_batch: bool  # an image that cannot be read is an item, not the answer


async def read_upload(request: Request, settings: Settings) -> Upload:
    """Return the images and fields of a request in any of the three forms.

    Raises ApiError 415 for another type, 422 if the request is malformed or has no image or too
    many.
    """
    kind = _content_type(request)
    if _is_json(kind):
        return await _from_json(request, settings)
    if kind == "multipart/form-data":
        return await _from_multipart(request, settings)
    if kind not in RAW_TYPES and not kind.startswith("image/"):
        message = "unsupported Content-Type; use image/jpeg, application/json, or a form"
        raise ApiError(415, message, "content_type")
    body = await request.body()
    if not body:
        message = "expected an image as the body, multipart/form-data or JSON, got an empty body"
        raise ApiError(422, message, "no_image")
    return Upload([body], _text_fields(request.query_params.multi_items()), is_batch=False)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request; raise ApiError 415 or 422 for anything else."""
    if not _is_json(_content_type(request)):
        raise ApiError(415, "expected Content-Type: application/json", "content_type")
    body = await request.body()
    if sum(map(body.count, (b",", b"[", b"{"))) > VALUES:
        raise ApiError(422, f"expected JSON with at most {VALUES} values", "json")
    try:
        content = await _off_loop(json.loads, body)
    except (ValueError, RecursionError):
        raise ApiError(422, "the body is not valid JSON", "json") from None
    if not isinstance(content, dict):
        raise ApiError(422, "expected a JSON object", "json")
    return content


async def read_image(image: object, request: Request, settings: Settings) -> bytes:
    """Return the bytes of an image given as bytes, base64, a data URL, or an allowed URL.

    Raises ApiError 422, or what `Share.take` raises for a download.
    """
    if isinstance(image, bytes):
        return image
    if not isinstance(image, str) or not image:
        raise ApiError(422, "expected an image as base64 text or a data URL", "bad_type")
    if image[:8].lower().startswith(("http://", "https://")):
        return await _download(image, request.scope[SHARE], settings)
    content: bytes | None = await _off_loop(_decode_base64, image)
    if content is None:
        message = "invalid base64; send base64 text of the image file, or a data URL"
        raise ApiError(422, message, "base64")
    return content


def _content_type(request: Request) -> str:
    """Return the media type of the body, without parameters."""
    value: str = request.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()


def _is_json(kind: str) -> bool:
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


async def read_or_error(image: object, request: Request, settings: Settings) -> bytes | ApiError:
    """Return what `read_image` returns, or the error that it raises."""
    try:
        return await read_image(image, request, settings)
    except ApiError as error:
        return error


async def _from_json(request: Request, settings: Settings) -> Upload:
    content = await read_json(request)
    if ("image" in content) == ("images" in content):
        raise ApiError(422, "expected either image or images in the JSON object", "no_image")
    is_batch = "images" in content
    texts = content["images"] if is_batch else [content["image"]]
    if not isinstance(texts, list):
        raise ApiError(422, "expected images as a list", "bad_type")
    check_count(len(texts), settings)
    return Upload(texts, _with_query(request, content), is_batch)


async def _from_multipart(request: Request, settings: Settings) -> Upload:
    body = await request.body()

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    count = settings.images_per_request
    parser = MultiPartParser(
        request.headers,
        stream(),
        max_files=count,
        max_fields=FIELDS,
        max_part_size=settings.max_body,
    )
    parser.spool_max_size = settings.max_body + 1  # never written to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in str(error):
            check_count(count + 1, settings)
        if "Too many fields" in str(error):
            message = f"expected at most {FIELDS} text fields"
            raise ApiError(422, message, "multipart") from None
        raise ApiError(422, "the multipart body is malformed", "multipart") from None
    except (ValueError, KeyError, LookupError):
        raise ApiError(422, "the multipart body is malformed", "multipart") from None
    images: list[Any] = []
    pairs: list[tuple[str, str]] = []
    try:
        for name, value in form.multi_items():
            if name in ("image", "images") and isinstance(value, UploadFile):
                images.append(await value.read())
            elif isinstance(value, str) and name not in ("image", "images"):
                pairs.append((name, value))
            else:
                message = "expected image files in fields named image, and other fields as text"
                raise ApiError(422, message, "multipart")
    finally:
        await form.close()
    check_count(len(images), settings)
    return Upload(images, _with_query(request, _text_fields(pairs)), is_batch=len(images) > 1)


def _text_fields(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the fields of a query or form; labels and templates may be repeated."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    fields: dict[str, Any] = {}
    for name, values in given.items():
        if len(values) == 1:
            fields[name] = values[0]
        elif name == "labels":
            lists = [parse_labels(text) for text in values]
            if not all(isinstance(each, list) for each in lists):
                raise ApiError(422, "expected labels once, as a JSON object", "labels")
            fields[name] = [label for each in lists for label in each]
        elif name == "templates":
            fields[name] = values
        else:
            raise ApiError(422, f"expected {shortened(repr(name))} once", "fields")
    return fields


def _with_query(request: Request, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a body and those of the query."""
    query = _text_fields(request.query_params.multi_items())
    for name in query.keys() & fields.keys():
        message = f"expected {shortened(repr(name))} in the query or in the body, got both"
        raise ApiError(422, message, "fields")
    return {**query, **fields}


def check_count(count: int, settings: Settings) -> None:
    """Raise ApiError 422 for no images or more than a request may contain."""
    limit = settings.images_per_request
    if not 1 <= count <= limit:
        found = "none" if not count else "more"
        raise ApiError(422, f"expected 1 to {limit} images, got {found}", "image_count")


def parse_labels(value: object) -> Any:
    """Return labels given as JSON text or as a list with commas; other values unchanged."""
    if not isinstance(value, str):
        return value
    if len(value) > LARGE:  # it is parsed here, where other requests wait
        raise ApiError(422, f"expected labels of at most {LARGE} characters", "labels")
    if value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ApiError(422, "labels are not valid JSON", "labels") from None
    try:
        rows = list(csv.reader([value], skipinitialspace=True, strict=True))
    except csv.Error:
        message = "expected labels with commas, or as JSON; a quote is not closed"
        raise ApiError(422, message, "labels") from None
    return [name.strip() for row in rows for name in row if name.strip()]


def parse_top(value: object, most: int, default: int = 5) -> int:
    """Return the number of labels to rank; raise ApiError 422 if it is not in 1..most."""
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ApiError(422, f"expected top as an integer in 1..{most}", "top")
    return value


async def _download(url: str, share: Share, settings: Settings) -> bytes:
    """Return an image; the downloads of a request count as its body does."""
    if not settings.allow_urls:
        message = "URLs of images are not accepted; send the image as base64 or a data URL"
        raise ApiError(422, message, "url_refused")
    from zeroshot.serving.urls import fetch

    def work() -> bytes:
        seconds = min(URL_SECONDS, settings.deadline)
        return fetch(url, settings.url_hosts, max_bytes=max(1, share.left), deadline=seconds)

    try:
        content = await asyncio.get_running_loop().run_in_executor(_downloads, work)
    except ImageError as error:
        if error.kind == "too_large_bytes":
            raise too_large(settings.max_body) from None
        raise image_problem(error) from None
    share.take(len(content))
    return content


def _decode_base64(text: str) -> bytes | None:
    """Return the bytes of base64 text or of a data URL, or None if it is invalid."""
    if text[:5].lower() == "data:":
        header, comma, text = text.partition(",")
        if not comma or not header.lower().rstrip().endswith(";base64"):
            return None
    try:
        compact = text.encode("ascii").translate(None, b" \t\r\n\f\v").rstrip(b"=")
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True) or None
    except ValueError:
        return None


async def _off_loop(work: Any, content: Any) -> Any:
    """Return work(content), in a thread if it is large."""
    return await asyncio.to_thread(work, content) if len(content) > LARGE else work(content)
