"""OpenAI's archives from OpenAI's own address, for when no hub answers: resumed and verified."""

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

from zeroshot.errors import ChecksumError, DownloadError, OfflineError
from zeroshot.hub import checksums, client
from zeroshot.hub.downloads import check_room
from zeroshot.hub.failures import CACHE_ERRNO, TRANSIENT_STATUS, cache_error, unresolved
from zeroshot.hub.location import cache_folder

TIMEOUT = 10.0  # seconds without a byte
CHUNK = 1 << 20  # bytes

log = logging.getLogger("zeroshot")


def archive_path(url: str, sha256: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where an archive lies once fetched: beside the hub's cache, not within it."""
    cache = cache_folder(cache_dir)
    folder = cache.parent if cache.name == "hub" else cache
    return folder / "zeroshot" / sha256[:16] / Path(urlsplit(url).path).name


def cached_archive(
    url: str, sha256: str, cache_dir: str | os.PathLike[str] | None = None
) -> Path | None:
    """Return an archive that was fetched before, or None; a damaged one counts as none."""
    path = archive_path(url, sha256, cache_dir)
    if not path.is_file():
        return None
    if not checksums.difference(path, sha256, _stamp(path)):
        return path
    log.warning("%s: its sha256 is not %s; removed", path, sha256)
    with suppress(OSError):
        path.unlink()
    return None


def fetch_archive(
    url: str,
    sha256: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Path:
    """Download an archive of known sha256, continuing where an earlier call was cut off.

    Raises DownloadError, ChecksumError, OfflineError, CacheError.
    """
    if (found := cached_archive(url, sha256, cache_dir)) is not None:
        return found
    path = archive_path(url, sha256, cache_dir)
    if offline:
        raise OfflineError(
            f"{path}: not in the cache, and offline mode forbids fetching it from {url}; load it "
            "once online, or copy it there"
        )
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: wanted an address that begins with https://")
    partial = path.with_name(f"{path.name}.incomplete")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with client.file_lock(path.with_name(f"{path.name}.lock")):
            if path.is_file():
                return path  # another process has just brought and verified it
            for again in (True, False):
                _download(url, partial)
                differing = checksums.difference(partial, sha256)
                if not differing:
                    break
                partial.unlink()
                if not again:
                    raise ChecksumError(
                        f"{url}: what came has sha256 {differing}, twice, wanted {sha256}; a proxy "
                        "may answer in its stead: try another network",
                        expected=sha256,
                        found=differing,
                    )
                log.warning("%s: what came has sha256 %s; fetching it anew", url, differing)
            partial.replace(path)
            checksums.difference(path, sha256, _stamp(path))  # leaves the stamp
            return path
    except OSError as error:
        if isinstance(error, DownloadError) or error.errno not in CACHE_ERRNO:
            raise
        raise cache_error(error, path.parent) from error


def _stamp(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp")


def _download(url: str, partial: Path) -> None:
    """Append to the partial file until it is complete; give up after tries without progress."""
    tries = 0
    while True:
        before = _size(partial)
        try:
            if _transfer(url, partial):
                return
            error: Exception = ConnectionResetError("the connection ended before the file did")
        except urllib.error.HTTPError as answer:
            answer.close()
            if answer.code == 416 and before:  # the partial file is longer than the archive
                partial.unlink()
            elif answer.code not in TRANSIENT_STATUS:
                raise DownloadError(
                    f"{url}: the answer is {answer.code} {answer.reason}, wanted the archive; see "
                    "whether a proxy refuses it"
                ) from answer
            error = answer
        except (OSError, http.client.HTTPException, ValueError) as problem:
            if isinstance(problem, DownloadError):
                raise
            if isinstance(problem, OSError) and problem.errno in CACHE_ERRNO:
                raise
            error = problem
        tries = 1 if _size(partial) > before else tries + 1
        if tries >= client.TRIES or (tries > 1 and unresolved(error)):
            raise DownloadError(
                f"{url}: {tries} tries brought nothing more ({error}); check the network "
                f"and HTTPS_PROXY, or copy that file to {partial.with_suffix('')}"
            ) from error
        time.sleep(client.backoff(tries))


def _transfer(url: str, partial: Path) -> bool:
    """Make one request for what is missing; tell whether the file is complete now."""
    from huggingface_hub import constants
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    quiet = constants.HF_HUB_DISABLE_PROGRESS_BARS or None  # None: where stderr is no terminal
    start = _size(partial)
    headers = {"User-Agent": "zeroshot", **({"Range": f"bytes={start}-"} if start else {})}
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=TIMEOUT
    ) as answer:
        length = answer.headers.get("Content-Length") or ""
        if not length.isdecimal():
            raise ValueError("the answer does not say how long the file is")
        resumed = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(
            f"bytes {start}-"
        )
        if not resumed:
            start = 0
        total = start + int(length)
        check_room(partial.parent, int(length), url)
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
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                start += len(chunk)
                progress.update(len(chunk))
        return bool(start == total)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
