"""Get the bytes of an image from the objects that web services and file systems hand out.

Uploads, responses, paths of other file systems, data URIs and base64 text are recognized by their
attributes, so none of the libraries that define them is imported.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import os
import re
import urllib.parse
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from zeroshot.errors import ImageError, ImageNotFound, image_error, shortened
from zeroshot.images.formats import HEAD, is_image_head
from zeroshot.images.locks import get_lock

MAX_BASE64 = 100_000_000  # characters of a data URI or base64 text
SHORTEST_BASE64 = 40  # characters; no image is smaller, and shorter text is a path
LONGEST_PATH = 4096  # characters; longer text is not a path
BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]*")


def is_data_uri(text: str | bytes) -> bool:
    """Return whether a text is a data URI, such as "data:image/png;base64,iVBO..."."""
    return text[:5].lower() in ("data:", b"data:")


def is_base64_image(text: str | bytes) -> bool:
    """Return whether a text is the base64 encoding of a supported image format."""
    start = text[: HEAD * 2]
    if len(start) < SHORTEST_BASE64:
        return False
    if isinstance(start, bytes):
        start = start.decode("ascii", "replace")
    if not BASE64.fullmatch(start):
        return False
    compact = "".join(start.split())
    try:
        return is_image_head(_decode_base64(compact[: len(compact) // 4 * 4].rstrip("=")))
    except binascii.Error:
        return False


def decode_text(text: str | bytes, name: str) -> bytes:
    """Return the bytes of a data URI or base64 text.

    Raises ImageError.
    """
    if len(text) > MAX_BASE64:
        raise image_error(
            "too_large_bytes",
            name,
            f"expected at most {MAX_BASE64} characters of base64, got {len(text)}; pass a path",
        )
    if not (is_data_uri(text) or is_base64_image(text)):
        raise image_error(
            "not_found",
            name,
            f"expected a path, URL, data URI or base64 of an image, got {len(text)} characters of "
            "other text; check the value",
        )
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    content, encoded = text, True
    if is_data_uri(text):
        header, comma, content = text.partition(",")
        if not comma:
            raise image_error(
                "not_image", name, "expected data:image/...;base64,... got a URI without a comma"
            )
        encoded = header.lower().rstrip().endswith(";base64")
        content = urllib.parse.unquote(content, "latin-1") if "%" in content else content
    if not encoded:
        return content.encode("latin-1", "replace")
    try:
        return _decode_base64("".join(content.split()).rstrip("="))
    except binascii.Error as error:
        raise image_error(
            "decode_failed", name, f"invalid base64 ({error}); pass all of the text"
        ) from error


def name_of_text(text: str) -> str | None:
    """Return a short name for text that is no path, and None for what may be a path."""
    if is_data_uri(text):
        comma = text.find(",", 0, 60)
        return f"{text[: comma + 1] or text[:30]}..."
    if is_base64_image(text):
        return f"<base64 of {len(text)} characters>"
    return f"{text[:40]}..." if len(text) > LONGEST_PATH else None


def is_response(source: Any) -> bool:
    """Return whether this is an HTTP response: an object with the body in `content`."""
    if "content" not in dir(source):
        return False
    if hasattr(source, "status_code"):
        return True
    try:
        return isinstance(source.content, bytes)
    except Exception:  # a property of some other type
        return False


def is_openable(source: Any) -> bool:
    """Return whether this opens as a file: a path of any file system, or fsspec's OpenFile."""
    return callable(getattr(source, "open", None)) and (
        hasattr(source, "read_bytes")
        or (hasattr(source, "__enter__") and not hasattr(source, "__iter__"))  # no archive
    )


def is_wrapper(source: Any) -> bool:
    """Return whether this is one image in an object with a method or attribute for its bytes."""
    if isinstance(source, type):
        return False
    return (
        hasattr(source, "read")
        or hasattr(getattr(source, "file", None), "read")
        or is_openable(source)
        or is_response(source)
    )


def read_wrapper(source: Any, name: str) -> bytes:
    """Return the bytes of an image from an object for which `is_wrapper` is true.

    Raises ImageError.
    """
    try:
        if is_response(source):
            return _read_response(source, name)
        if hasattr(source, "read") and not inspect.iscoroutinefunction(source.read):
            return read_file(cast(BinaryIO, source), name)
        if hasattr(getattr(source, "file", None), "read"):  # Starlette's UploadFile
            return read_file(source.file, name)
        if hasattr(source, "read"):
            raise _asynchronous(name)
        if hasattr(source, "read_bytes"):
            return bytes(source.read_bytes())
        with source as file:
            return read_file(file, name)
    except ImageError:
        raise
    except (FileNotFoundError, KeyError) as error:
        message = f"{shortened(name, 300)}: no such image file; check the path"
        raise ImageNotFound(message, kind="not_found", source=name) from error
    except Exception as error:  # of any file system or client
        raise image_error(
            "decode_failed", name, f"cannot read the file ({shortened(repr(error), 150)})"
        ) from error


def read_file(file: BinaryIO, name: str) -> bytes:
    """Read a file from its start, whatever its position."""
    try:
        with get_lock(file):
            if hasattr(file, "seekable") and file.seekable() is True:
                file.seek(0)
            content: object = file.read()
    except ImageError:  # of an object that makes its image when it is read
        raise
    except (OSError, ValueError) as error:  # closed, or not opened for reading
        reason = shortened(str(error), 200)
        raise image_error(
            "decode_failed", name, f"cannot read the file ({reason}); open it with mode 'rb'"
        ) from error
    if inspect.isawaitable(content):
        if inspect.iscoroutine(content):
            content.close()
        raise _asynchronous(name)
    if not isinstance(content, bytes | bytearray | memoryview):
        got = "text" if isinstance(content, str) else type(content).__name__
        raise image_error(
            "bad_type", name, f"expected a binary file, got {got}; open it with mode 'rb'"
        )
    return bytes(content)


def name_of_wrapper(source: Any) -> str | None:
    """Return the path or URL of an upload, a response or a path of any file system."""
    if hasattr(source, "status_code") and "url" in dir(source):
        return _text(lambda: str(source.url))  # httpx: the response may have no request
    if hasattr(source, "read_bytes") and not isinstance(source, os.PathLike):
        return _text(lambda: str(source)) or source.name  # an archive may have no name
    for attribute in ("filename", "full_name", "name"):
        value = getattr(source, attribute, None)
        if isinstance(value, str) and value:
            return value
    return None


def _text(get: Callable[[], str]) -> str | None:
    """Return a name, or None if the object raises an error instead of giving it."""
    try:
        return get()
    except Exception:  # of any library
        return None


def _decode_base64(text: str) -> bytes:
    """Decode base64 of either alphabet, without whitespace and padding."""
    text = text.replace("-", "+").replace("_", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _read_response(response: Any, name: str) -> bytes:
    status = getattr(response, "status_code", None)
    if isinstance(status, int) and status >= 400:
        raise image_error(
            "not_found" if status in (404, 410) else "url_refused",
            name,
            f"the response has status {status}; check the URL, or call raise_for_status() first",
        )
    try:
        content = response.content
    except Exception:  # httpx: the body of a stream was not read
        if not hasattr(response, "read"):
            raise
        return read_file(response, name)
    if not isinstance(content, bytes | bytearray | memoryview):
        raise image_error(
            "bad_type",
            name,
            f"expected a response whose content is bytes, got {type(content).__name__}; pass the "
            "bytes of the image",
        )
    return bytes(content)


def _asynchronous(name: str) -> ImageError:
    return image_error(
        "bad_type",
        name,
        "its read() is asynchronous; pass the bytes with await upload.read(), or pass upload.file",
    )
