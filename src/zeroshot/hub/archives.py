"""Download OpenAI's archives from OpenAI when the Hub is unreachable.

Downloads are resumed after an interruption and verified against their sha256.
"""

from __future__ import annotations

import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from zeroshot.errors import ChecksumError, DownloadError
from zeroshot.hub import checksums, client
from zeroshot.hub.downloads import check_free_space
from zeroshot.hub.failures import (
    CACHE_ERRNO,
    TRANSIENT_STATUS,
    cache_write_error,
    is_unresolved_host,
)
from zeroshot.hub.location import cache_folder

TIMEOUT = 10.0  # seconds without data
CHUNK = 1 << 20  # bytes

log = logging.getLogger("zeroshot")


def archive_path(url: str, sha256: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of a downloaded archive: next to the Hub cache, not inside it."""
    cache = cache_folder(cache_dir)
    folder = cache.parent if cache.name == "hub" else cache
    return folder / "zeroshot" / sha256[:16] / Path(urlsplit(url).path).name


def cached_archive(
    url: str, sha256: str, cache_dir: str | os.PathLike[str] | None = None
) -> Path | None:
    """Return a cached archive, or None; a corrupted archive is removed."""
    path = archive_path(url, sha256, cache_dir)
    if not path.is_file():
        return None
    if not checksums.find_mismatch(path, sha256, _stamp(path)):
        return path
    log.warning("%s: checksum mismatch, expected sha256 %s; file removed", path, sha256)
    with suppress(OSError):
        path.unlink()
    return None


def fetch_archive(
    url: str,
    sha256: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Download an archive, verify its sha256 and return its path.

    A download that was interrupted in an earlier call is resumed.
    `cache_dir` defaults to the Hub cache.

    Raises DownloadError, ChecksumError, CacheError.
    """
    if (found := cached_archive(url, sha256, cache_dir)) is not None:
        return found
    path = archive_path(url, sha256, cache_dir)
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(
            f"expected a URL that starts with https:// or http://, got {url!r}; correct the URL"
        )
    partial = path.with_name(f"{path.name}.incomplete")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with client.file_lock(path.with_name(f"{path.name}.lock")):
            if path.is_file():
                return path  # another process has just downloaded and verified it
            for again in (True, False):
                _download(url, partial)
                # The stamp stays valid: renaming keeps size, time and inode.
                differing = checksums.find_mismatch(partial, sha256, _stamp(path))
                if not differing:
                    break
                partial.unlink()
                if not again:
                    raise ChecksumError(
                        f"{url}: checksum mismatch after two attempts: expected sha256 {sha256}, "
                        f"got {differing}; a proxy may alter the download: try another network",
                        expected=sha256,
                        found=differing,
                    )
                log.warning(
                    "%s: checksum mismatch: expected sha256 %s, got %s; downloading it again",
                    url,
                    sha256,
                    differing,
                )
            partial.replace(path)
            return path
    except OSError as error:
        if isinstance(error, DownloadError) or error.errno not in CACHE_ERRNO:
            raise
        raise cache_write_error(error, path.parent) from error


def _stamp(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp")


def _download(url: str, partial: Path) -> None:
    """Append to the partial file until it is complete.

    Raises DownloadError after several attempts without progress.
    """
    tries = 0
    while True:
        before = _size(partial)
        try:
            if _transfer(url, partial):
                return
            error: Exception = ConnectionResetError(
                "the connection closed before the end of the file"
            )
        except urllib.error.HTTPError as response:
            response.close()
            if response.code == 416 and before:  # the partial file is longer than the archive
                partial.unlink()
            elif response.code not in TRANSIENT_STATUS:
                raise DownloadError(
                    f"{url}: expected the archive, got status {response.code} {response.reason}; "
                    "check whether a proxy or firewall blocks it"
                ) from response
            error = response
        except (OSError, http.client.HTTPException, ValueError) as problem:
            if isinstance(problem, DownloadError):
                raise
            if isinstance(problem, OSError) and problem.errno in CACHE_ERRNO:
                raise
            error = problem
        tries = 1 if _size(partial) > before else tries + 1
        if tries >= client.TRIES or (tries > 1 and is_unresolved_host(error)):
            # str() of a URLError is "<urlopen error ...>"
            reason = error.reason if type(error) is urllib.error.URLError else error
            raise DownloadError(
                f"{url}: download failed after {tries} attempts without progress ({reason}); check "
                f"the network and HTTPS_PROXY, or copy that file to {partial.with_suffix('')}"
            ) from error
        time.sleep(client.backoff(tries))


def _transfer(url: str, partial: Path) -> bool:
    """Request the missing bytes once; return whether the file is complete."""
    from huggingface_hub import constants
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    quiet = (
        constants.HF_HUB_DISABLE_PROGRESS_BARS or None
    )  # None: disabled if stderr is not a terminal
    start = _size(partial)
    headers = {"User-Agent": "zeroshot", **({"Range": f"bytes={start}-"} if start else {})}
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=TIMEOUT
    ) as response:
        length = response.headers.get("Content-Length") or ""
        if not length.isdecimal():
            raise ValueError("the response has no valid Content-Length")
        content_range = response.headers.get("Content-Range") or ""
        resumed = response.status == 206 and content_range.startswith(f"bytes {start}-")
        if not resumed:
            start = 0
        total = start + int(length)
        check_free_space(partial.parent, int(length), url)
        with (
            partial.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=partial.stem,
                disable=quiet,
            ) as progress,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                start += len(chunk)
                progress.update(len(chunk))
        return bool(start == total)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
