"""Download the files of one commit into the cache and verify their hashes."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroshot.errors import CacheError, ChecksumError, ModelNotFound, OfflineError, ZeroshotError
from zeroshot.files import format_bytes
from zeroshot.hub import checksums, client
from zeroshot.hub.client import Published
from zeroshot.hub.failures import cache_read_error
from zeroshot.hub.location import Location, manual_copy_hint

STAMPS = ".zeroshot"  # folder of the stamps, inside the cache folder of a repository
ORPHAN_AGE = 24 * 3600.0  # seconds since the last write to an unfinished download

log = logging.getLogger("zeroshot")


OTHER_NAMES = (
    "If its files have other names, try `hf download` and load the weights file by its path"
)


@dataclass(frozen=True)
class Downloader:
    """Downloads files of one commit and verifies them."""

    location: Location  # at a commit
    sha256: dict[str, str]  # expected hashes by file name, given by the caller
    offline: bool
    known: dict[str, Published]  # metadata that was requested before

    def fetch(self, names: Sequence[str]) -> dict[str, Path]:
        """Return the verified files by name, without those that the repository lacks.

        Raises ChecksumError, CacheError, ModelNotFound, DownloadError.
        """
        states = {name: client.cached(self.location, name) for name in names}
        found = {name: path for name, path in states.items() if isinstance(path, Path)}
        published: dict[str, Published] = {}
        if not self.offline:
            for name in (name for name, state in states.items() if state is True):
                facts = self.known.get(name) or client.head(self.location, name)
                if facts.exists:
                    published[name] = facts
                else:
                    client.download(
                        self.location, name
                    )  # so that the client caches that the file is missing
            if published:
                self._check_before_download(published)
            for name in published:
                path = client.download(self.location, name)
                if path is None:
                    raise self.missing_error(name)
                found[name] = path
        for name, path in found.items():
            self._verify(name, path, published.get(name))
        return {name: found[name] for name in names if name in found}

    def missing_error(self, name: str, advice: str = OTHER_NAMES) -> ZeroshotError:
        """Return the error for a file that is not available, with advice if the Hub lacks it."""
        if self.offline:
            return OfflineError(
                f"{self.location}: {name} is not in the cache {self.location.cache}, and offline "
                "mode forbids the download; load the model once online, or set HF_HOME to a cache "
                f"that has it. {manual_copy_hint(self.location)}"
            )
        return ModelNotFound(
            f"{self.location} has no file {name}; expected a CLIP checkpoint in a supported "
            f"layout. {advice}"
        )

    def _check_before_download(self, published: Mapping[str, Published]) -> None:
        """Check the published hashes and the free disk space before any download."""
        for name, facts in published.items():
            expected = self.sha256.get(name, "")
            if expected and checksums.SHA256.fullmatch(facts.etag) and expected != facts.etag:
                raise ChecksumError(
                    f"{self.location}: checksum mismatch for {name}: expected sha256 {expected}, "
                    f"but the Hub publishes {facts.etag}. The file has changed since it was "
                    "cataloged or locked and was not downloaded; pass the commit that had it as "
                    "`revision`, or run `zeroshot lock` again",
                    expected=expected,
                    found=facts.etag,
                )
        blobs = self.location.folder / "blobs"
        needed = sum(
            facts.size
            for facts in published.values()
            if not (facts.etag and (blobs / facts.etag).exists())
        )
        check_free_space(self.location.cache, needed, str(self.location))
        remove_orphans(blobs)

    def _verify(self, name: str, path: Path, published: Published | None) -> None:
        """Compare a file with its published hash, then with the caller's hash.

        A file that differs from its published hash is downloaded again once.
        """
        link = checksums.published_name(path)
        stamp = (
            self.location.folder / STAMPS / (link or f"{self.location.revision}-{_flatten(name)}")
        )
        expected = self.sha256.get(name, "")
        etag = link or (published.etag if published else "")
        if not checksums.is_hash(etag):
            etag = expected
        if published and not etag:
            log.warning(
                "%s: the Hub publishes no hash of %s, so its content cannot be verified; "
                "run `zeroshot lock` to record one",
                self.location,
                name,
            )
        found = _find_mismatch(path, etag, stamp)
        if found:
            path = self._redownload(name, path, etag, found, stamp)
        if expected and expected != etag:
            found = _find_mismatch(path, expected, stamp)
            if found:
                raise ChecksumError(
                    f"{self.location}: checksum mismatch for {name}: expected sha256 {expected}, "
                    f"got {found}, which the Hub published. The file has changed since it was "
                    "cataloged or locked; pass the commit that had it as `revision`, or run "
                    "`zeroshot lock` again",
                    expected=expected,
                    found=found,
                )

    def _redownload(self, name: str, path: Path, expected: str, found: str, stamp: Path) -> Path:
        """Download a corrupted file again; remove it from the cache if that fails."""
        if self.offline:
            gone = checksums.remove(path)
            reason = "Offline mode forbids another download"
            raise self._mismatch_error(name, expected, found, gone, reason)
        log.warning(
            "%s: checksum mismatch for %s: expected %s, got %s; downloading it again",
            self.location,
            name,
            expected,
            found,
        )
        try:
            check_free_space(self.location.cache, path.stat().st_size, str(self.location))
            if not path.is_symlink():
                checksums.remove(path)  # the client would not replace a copy
            again = client.download(self.location, name, force=True)
        except ZeroshotError:
            checksums.remove(path)
            raise
        if again is None:
            checksums.remove(path)
            raise self.missing_error(name)
        found = _find_mismatch(again, expected, stamp)
        if found:
            gone = checksums.remove(again)
            reason = "A second download had the same problem"
            raise self._mismatch_error(name, expected, found, gone, reason)
        return again

    def _mismatch_error(
        self, name: str, expected: str, found: str, gone: bool, reason: str
    ) -> ChecksumError:
        kind = "sha256" if checksums.SHA256.fullmatch(expected) else "git sha1"
        state = (
            "It was removed from the cache"
            if gone
            else f"It could not be removed: delete {self.location.folder}"
        )
        return ChecksumError(
            f"{self.location}: checksum mismatch for {name}: expected {kind} {expected}, got "
            f"{found}. The file was corrupted or altered in transit or on disk. {state}. "
            f"{reason}; try another network, or another mirror in HF_ENDPOINT",
            expected=expected,
            found=found,
        )


def _find_mismatch(path: Path, expected: str, stamp: Path) -> str:
    """Call `checksums.find_mismatch`; raise CacheError for an unreadable file."""
    try:
        return checksums.find_mismatch(path, expected, stamp)
    except OSError as error:
        raise cache_read_error(error, path) from error


def _flatten(name: str) -> str:
    return name.replace("/", "--")


def check_free_space(cache: Path, needed: int, what: str) -> None:
    """Raise CacheError if the disk of the cache has fewer than `needed` free bytes."""
    try:
        folder = next(folder for folder in (cache, *cache.parents) if folder.exists())
        free = shutil.disk_usage(folder).free
    except OSError as error:  # the download itself will report the problem
        log.debug("%s: cannot determine the free space: %s", cache, error)
        return
    if needed > free:
        raise CacheError(
            f"{cache}: not enough disk space: {what} needs {format_bytes(needed)}, "
            f"{format_bytes(free)} is free; free up space, or set HF_HOME (or cache_dir) to a "
            "folder on a larger disk"
        )


def remove_orphans(blobs: Path) -> None:
    """Remove unfinished downloads of this repository that are older than a day."""
    for orphan in blobs.glob("*.incomplete"):
        try:
            if time.time() - orphan.stat().st_mtime > ORPHAN_AGE:
                orphan.unlink()
                log.info("%s: removed a stale unfinished download", orphan)
        except OSError as error:
            log.debug("%s: cannot remove the file: %s", orphan, error)
