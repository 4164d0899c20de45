"""Read images of other file systems (s3://, gs://, hf://, memory://) and of web servers.

fsspec opens the file systems; each requires its own package. Errors that may pass are tried again.
"""

from __future__ import annotations

import glob
import time
import urllib.error
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar, cast

from zeroshot.errors import (
    ImageError,
    ImageNotFound,
    InputError,
    MissingPackage,
    image_error,
    shortened,
)
from zeroshot.images.download import download_image

ATTEMPTS = 3
PAUSE = 0.5  # seconds before the second attempt; doubles for each further one
TIMEOUT = 60.0  # seconds for one file
WEB = ("http://", "https://")
BUSY = 429  # status of a server that limits requests; others that may pass are 500 and above
# errors that a second attempt does not change
LASTING = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(ValueError, TypeError, NotImplementedError, ImportError),
)

Value = TypeVar("Value")


def is_remote(name: str) -> bool:
    """Return whether this is a URL of a file system that fsspec opens."""
    scheme, separator, _ = name.partition("://")
    # a data URI may contain :// in its content
    is_scheme = scheme.replace("+", "").replace(":", "").replace("-", "").isalnum()
    return bool(separator) and is_scheme and not name.startswith(WEB)


def read(url: str) -> bytes:
    """Read a file of another file system or of a web server, with up to 3 attempts.

    Raises ImageError for a file that does not exist or is refused, TimeoutError, and OSError for
    an error that may pass.
    """
    return _retry(lambda: download_image(url) if url.startswith(WEB) else _read_once(url), url)


def open_file(url: str) -> BinaryIO:
    """Open a remote file for reading. Raises InputError or MissingPackage."""
    system, path = find_system(url)
    try:
        return cast(BinaryIO, _retry(lambda: system.open(path, "rb"), url))
    except OSError as error:
        reason = shortened(str(error), 200)
        raise InputError(
            f"{shortened(url, 200)}: cannot be opened ({reason}); check the URL and the access"
        ) from error


def find_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Raises InputError for an unknown scheme, MissingPackage if its package is not installed.
    """
    import fsspec
    from fsspec.registry import known_implementations

    scheme = url.partition("://")[0]
    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url))
    except ImportError as error:
        known = known_implementations.get(scheme, {}).get("class", "")
        package = known.partition(".")[0] or scheme
        raise MissingPackage(
            f"{shortened(url, 200)}: reading {scheme}:// requires the package {package}, which is "
            f"not installed; run: pip install {package}"
        ) from error
    except Exception as error:  # of any file system: an unknown scheme, missing credentials
        reason = shortened(str(error) or repr(error), 200)
        raise InputError(
            f"{shortened(url, 200)}: cannot be opened ({reason}); check the URL, or copy the files "
            "to a local folder"
        ) from error


def list_files(url: str) -> list[str] | None:
    """Return the URLs of the files in a folder or of a pattern, sorted; None for a single file.

    Raises InputError for an empty result, or if the folder cannot be listed.
    """
    system, path = find_system(url)
    try:
        if glob.has_magic(path):
            found = _retry(lambda: [each for each in system.glob(path) if system.isfile(each)], url)
        elif _retry(lambda: system.isdir(path), url):
            found = _retry(lambda: system.find(path), url)
        else:
            return None
    except OSError as error:
        reason = shortened(str(error), 200)
        raise InputError(
            f"{shortened(url, 200)}: cannot be listed ({reason}); check the URL and the access"
        ) from error
    if not found:
        raise InputError(f"{shortened(url, 200)}: no files found; check the URL")
    return sorted(system.unstrip_protocol(each) for each in found)


def _read_once(url: str) -> bytes:
    system, path = find_system(url)
    if getattr(system, "async_impl", False):
        from fsspec.asyn import sync

        return bytes(sync(system.loop, system._cat_file, path, timeout=TIMEOUT))
    return bytes(system.cat_file(path))


def _retry(work: Callable[[], Value], url: str) -> Value:
    """Return work(), and try again after an error that may pass."""
    for attempt in range(ATTEMPTS):
        try:
            return work()
        except Exception as error:  # of any file system
            if not _may_pass(error):
                raise _translate(error, url) from error
            if attempt == ATTEMPTS - 1:
                problem = _describe(error, url)
                kind = TimeoutError if _is_timeout(error) else OSError
                raise kind(f"{problem}, {ATTEMPTS} attempts") from error
        time.sleep(PAUSE * 2**attempt)
    raise AssertionError


def _may_pass(error: Exception) -> bool:
    if isinstance(error, ImageError):
        behind = error.__cause__
        if isinstance(behind, urllib.error.HTTPError):
            return behind.code == BUSY or behind.code >= 500
        return error.kind == "timeout" or (error.kind == "url_refused" and _is_network(behind))
    return not isinstance(error, LASTING)


def _is_network(error: BaseException | None) -> bool:
    return isinstance(error, OSError) or type(error).__module__.startswith("http.client")


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or getattr(error, "kind", "") == "timeout"


def _describe(error: Exception, url: str) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, ImageError):
        return text  # starts with the URL
    return f"{shortened(url, 200)}: cannot be read ({shortened(text, 200)})"


def _translate(error: Exception, url: str) -> Exception:
    """Return the error of an image for one of a file system."""
    if isinstance(error, ImageError | InputError | MissingPackage):
        return error
    if isinstance(error, FileNotFoundError):
        message = f"{shortened(url, 300)}: no such file; check the URL"
        return ImageNotFound(message, kind="not_found", source=url)
    if isinstance(error, PermissionError):
        return image_error("permission", url, "access denied; check the credentials")
    if isinstance(error, IsADirectoryError):
        return image_error("not_image", url, "expected an image file, got a folder")
    return OSError(_describe(error, url))
