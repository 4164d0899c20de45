"""Download model files from the Hugging Face Hub, verify them and cache them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

from zeroshot.catalog import Entry
from zeroshot.errors import CacheError, DownloadError, fitted
from zeroshot.hub.archives import cached_archive, fetch_archive
from zeroshot.hub.failures import HubUnreachable
from zeroshot.hub.location import MINI_HINT, is_offline, strip_copy_hint
from zeroshot.hub.lockfile import Pin, fetch_pinned, pin, read_lock, write_lock
from zeroshot.hub.snapshots import Fetched, Judge, fetch, fetch_checkpoint

__all__ = [
    "Fetched",
    "HubUnreachable",
    "Pin",
    "fetch",
    "fetch_checkpoint",
    "fetch_entry",
    "fetch_pinned",
    "pin",
    "read_lock",
    "write_lock",
]

log = logging.getLogger("zeroshot")


def fetch_entry(
    entry: Entry,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    judge: Judge | None = None,
) -> Path:
    """Download a cataloged checkpoint into the cache and return its weights file.

    `judge` is called with its configuration files before the weights are downloaded; see `fetch`.

    If the Hub is unreachable, the publisher's own archive is downloaded instead. This requires
    that the catalog has its sha256 and that no revision is given. Later calls then use the cached
    archive without a request.

    Raises ModelNotFound, ModelAccessDenied, OfflineError, ChecksumError, CacheError, DownloadError.
    """
    offline = offline or is_offline()
    if revision or not entry.url_sha256:
        return fetch_checkpoint(
            entry, revision=revision, cache_dir=cache_dir, offline=offline, judge=judge
        ).weights
    if (found := cached_archive(entry.url, entry.url_sha256, cache_dir)) is not None:
        return found
    try:
        return fetch_checkpoint(entry, cache_dir=cache_dir, offline=offline, judge=judge).weights
    except HubUnreachable as error:
        log.warning(
            "%s: the Hub is unreachable; trying the publisher's download instead", entry.name
        )
        try:
            return fetch_archive(entry.url, entry.url_sha256, cache_dir=cache_dir)
        except DownloadError as second:
            first = fitted(strip_copy_hint(str(error)), 240)
            raise DownloadError(
                f"{first} {_second_failure(second, entry.url)}. {MINI_HINT}"
            ) from second


def _second_failure(error: DownloadError, url: str) -> str:
    """Describe why the publisher's download failed too, without its URL of 140 characters."""
    what = str(error).removeprefix(f"{url}: ")
    if not isinstance(error, CacheError):
        what = what.partition("; ")[0]  # the advice is that of the first failure
    return f"The publisher's server {urlsplit(url).hostname} failed too: {what}"
