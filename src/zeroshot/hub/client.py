"""Download single files with huggingface_hub, with our own retries and errors.

huggingface_hub manages URLs, cache folders, locks and progress bars. It does not retry a GET after
a connection reset or a 5xx response, and it raises exceptions of three HTTP libraries.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from zeroshot import __version__
from zeroshot.errors import ZeroshotError
from zeroshot.files import write_atomically
from zeroshot.hub.failures import (
    cache_read_error,
    describe,
    is_transient,
    is_wrong_length,
    not_a_hub_error,
    retry_after,
    translate,
)
from zeroshot.hub.location import COMMIT, Location, endpoint, token

ETAG = re.compile(r"[\w-][\w.-]*")
TRIES = 4
PAUSE = 1.0  # seconds before the second attempt; doubles each time, with 50% jitter

log = logging.getLogger("zeroshot")
T = TypeVar("T")


@dataclass(frozen=True)
class Published:
    """The metadata that the Hub publishes about a file."""

    commit: str
    exists: bool
    etag: str = ""  # sha256 of a large file, git sha1 of a small one
    size: int = 0  # bytes


def cached(location: Location, name: str) -> Path | bool:
    """Look up a file in the cache.

    Returns its path, False if the repository is known not to have it, and True if that is unknown.
    Raises CacheError.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(
            location.repository, name, cache_dir=location.cache, revision=location.revision
        )
    except OSError as error:
        raise cache_read_error(error, location.folder) from error
    return Path(found) if isinstance(found, str) else found is None


def cached_commit(location: Location) -> str | None:
    """Return the cached commit of a branch or tag, or None."""
    try:
        commit = (location.folder / "refs" / location.revision).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def store_commit(location: Location, commit: str) -> None:
    """Write the commit of a branch or tag to the cache, unless it is read-only."""
    ref = location.folder / "refs" / location.revision
    try:
        ref.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(ref) as temporary:
            temporary.write_text(commit, "utf-8")
    except OSError as error:
        log.debug("%s: cannot cache the commit %s: %s", location, commit, error)


def head(location: Location, name: str, *, patient: bool = True) -> Published:
    """Request the metadata of a file: one request, and retries only if it fails.

    `patient=False` disables the retries. Raises ZeroshotError.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    def request() -> Published:
        url = hf_hub_url(location.repository, name, revision=location.revision, endpoint=endpoint())
        try:
            facts = get_hf_file_metadata(
                url,
                token=token(),
                timeout=constants.HF_HUB_ETAG_TIMEOUT,
                endpoint=endpoint(),
                library_name="zeroshot",
                library_version=__version__,
            )
        except EntryNotFoundError as error:
            headers = getattr(getattr(error, "response", None), "headers", {})
            return Published(headers.get("X-Repo-Commit") or "", exists=False)
        if not COMMIT.fullmatch(facts.commit_hash or ""):
            raise not_a_hub_error(location, "its response has no commit")
        if not ETAG.fullmatch(facts.etag or ""):  # the client uses it as a file name
            raise not_a_hub_error(location, f"expected a hash as ETag, got {facts.etag!r}")
        return Published(facts.commit_hash or "", True, facts.etag or "", facts.size or 0)

    return _retry(request, location, name, tries=TRIES if patient else 1)


def download(location: Location, name: str, *, force: bool = False) -> Path | None:
    """Download one file into the cache and return its path.

    Returns None if the repository has no such file. `force=True` downloads the file
    again even if it is cached. Raises ZeroshotError.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    fresh = force

    def attempt() -> Path | None:
        nonlocal fresh
        try:
            return Path(
                hf_hub_download(
                    location.repository,
                    name,
                    revision=location.revision,
                    cache_dir=location.cache,
                    force_download=fresh,
                    token=token(),
                    endpoint=endpoint(),
                    library_name="zeroshot",
                    library_version=__version__,
                )
            )
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None
        except OSError as error:
            # huggingface_hub 1.x would otherwise retry to resume an oversized partial file forever.
            fresh = fresh or is_wrong_length(error)
            raise

    return _retry(attempt, location, name, tries=TRIES)


def backoff(attempt: int) -> float:
    """Return the seconds to wait after this many attempts.

    The random jitter prevents clients from retrying at the same time.
    """
    return PAUSE * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311, not for security


def file_lock(path: Path) -> AbstractContextManager[object]:
    """Lock a path for one process at a time, if the file system supports locks."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    return cast(AbstractContextManager[object], WeakFileLock(path))


def _retry(act: Callable[[], T], location: Location, name: str, *, tries: int) -> T:
    """Call `act` up to `tries` times, and translate the last exception."""
    for attempt in range(1, tries + 1):
        try:
            return act()
        except ZeroshotError:
            raise
        except Exception as error:
            if attempt == tries or not is_transient(error, attempt):
                raise translate(error, location, name) from error
            pause = max(backoff(attempt), retry_after(error))
            log.info("%s: %s: %s; retrying in %.1f s", location, name, describe(error), pause)
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")
