"""One file of a hub through huggingface_hub: its cache, its token, our retries, our errors.

The client library owns addresses, cache folders, locks and progress bars. It does not retry a
reset connection or a 5xx answer to a GET, and its exceptions are those of three HTTP libraries.
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
    cache_unreadable,
    not_a_hub,
    retry_after,
    said,
    transient,
    translated,
    wrong_length,
)
from zeroshot.hub.location import COMMIT, Location, endpoint, token

ETAG = re.compile(r"[\w-][\w.-]*")
TRIES = 4
PAUSE = 1.0  # seconds before the second try; doubles with each, and varies by half either way

log = logging.getLogger("zeroshot")
T = TypeVar("T")


@dataclass(frozen=True)
class Published:
    """What a hub says of a file before sending it."""

    commit: str
    exists: bool
    etag: str = ""  # sha256 of a large file, git's sha1 of a small one
    size: int = 0


def cached(location: Location, name: str) -> Path | bool:
    """Return a file's path in the cache, False when known to be absent there, True when unknown."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(
            location.repository, name, cache_dir=location.cache, revision=location.revision
        )
    except OSError as error:
        raise cache_unreadable(error, location.folder) from error
    return Path(found) if isinstance(found, str) else found is None


def known_commit(location: Location) -> str | None:
    """Return the commit that the cache holds for a branch or tag."""
    try:
        commit = (location.folder / "refs" / location.revision).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def remember_commit(location: Location, commit: str) -> None:
    """Note in the cache which commit a branch or tag is at; a read-only cache is left alone."""
    ref = location.folder / "refs" / location.revision
    try:
        ref.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(ref) as temporary:
            temporary.write_text(commit, "utf-8")
    except OSError as error:
        log.debug("%s: %s is not remembered: %s", location, commit, error)


def head(location: Location, name: str, *, patient: bool = True) -> Published:
    """Ask what the hub publishes of a file: one request, more only when that fails."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    def ask() -> Published:
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
            raise not_a_hub(location, "its answer names no commit")
        if not ETAG.fullmatch(facts.etag or ""):  # the client makes a file name of it
            raise not_a_hub(location, f"its answer has the ETag {facts.etag!r}, wanted a hash")
        return Published(facts.commit_hash or "", True, facts.etag or "", facts.size or 0)

    return _tried(ask, location, name, tries=TRIES if patient else 1)


def download(location: Location, name: str, *, force: bool = False) -> Path | None:
    """Bring one file into the cache, or return None when the repository has none of that name."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    fresh = force

    def bring() -> Path | None:
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
            # Left to itself, client 1.x continues an unfinished file that is too long, for ever.
            fresh = fresh or wrong_length(error)
            raise

    return _tried(bring, location, name, tries=TRIES)


def backoff(attempt: int) -> float:
    """Return how many seconds to wait after this many tries; jitter keeps clients apart."""
    return PAUSE * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311, no secret


def file_lock(path: Path) -> AbstractContextManager[object]:
    """Let one process at a time through, where the file system knows locks."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    return cast(AbstractContextManager[object], WeakFileLock(path))


def _tried(act: Callable[[], T], location: Location, name: str, *, tries: int) -> T:
    for attempt in range(1, tries + 1):
        try:
            return act()
        except ZeroshotError:
            raise
        except Exception as error:
            if attempt == tries or not transient(error, attempt):
                raise translated(error, location, name) from error
            pause = max(backoff(attempt), retry_after(error))
            log.info("%s: %s: %s; trying again in %.1f s", location, name, said(error), pause)
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")
