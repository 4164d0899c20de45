"""Files of one commit, brought into the cache with the hash that was published, or refused."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroshot.errors import CacheError, ChecksumError, ModelNotFound, OfflineError, ZeroshotError
from zeroshot.hub import checksums, client
from zeroshot.hub.client import Published
from zeroshot.hub.failures import cache_unreadable
from zeroshot.hub.location import Location, by_hand

OURS = ".zeroshot"  # our folder within a repository's, for stamps
ORPHANED = 24 * 3600.0  # seconds since an unfinished download last grew

log = logging.getLogger("zeroshot")


@dataclass(frozen=True)
class Delivery:
    """What is needed to bring files of one commit, and how."""

    location: Location  # at a commit
    sha256: dict[str, str]  # what the caller knows
    offline: bool
    known: dict[str, Published]  # what the hub has said already

    def bring(self, names: Sequence[str]) -> dict[str, Path]:
        """Return the verified files of these names, less those that the repository lacks."""
        states = {name: client.cached(self.location, name) for name in names}
        found = {name: path for name, path in states.items() if isinstance(path, Path)}
        published: dict[str, Published] = {}
        if not self.offline:
            for name in (name for name, state in states.items() if state is True):
                facts = self.known.get(name) or client.head(self.location, name)
                if facts.exists:
                    published[name] = facts
                else:
                    client.download(self.location, name)  # lets the client note that there is none
            if published:
                self._make_ready(published)
            for name in published:
                path = client.download(self.location, name)
                if path is None:
                    raise self.absent(name)
                found[name] = path
        for name, path in found.items():
            self._verify(name, path, published.get(name))
        return {name: found[name] for name in names if name in found}

    def absent(self, name: str) -> ZeroshotError:
        """Return the error of a file that is not to be had."""
        if self.offline:
            return OfflineError(
                f"{self.location}: {name} is not in the cache {self.location.cache}, and offline "
                "mode "
                f"forbids fetching it; load it once online, or set HF_HOME to the cache that holds "
                f"it. {by_hand(self.location)}"
            )
        return ModelNotFound(
            f"{self.location} holds no {name}; it is not a CLIP of a known layout, or its files "
            "bear "
            "other names: fetch them with `hf download`, and load the weights file by its path"
        )

    def _make_ready(self, published: Mapping[str, Published]) -> None:
        """Before anything is fetched: do the hashes agree, and does it fit on the disk?"""
        for name, facts in published.items():
            wanted = self.sha256.get(name, "")
            if wanted and checksums.SHA256.fullmatch(facts.etag) and wanted != facts.etag:
                raise ChecksumError(
                    f"{self.location}: the hub publishes {name} with sha256 {facts.etag}, wanted "
                    f"{wanted}; it is another file than the one that was catalogued or locked, and "
                    "was not fetched: name the commit that had it as revision, or lock anew",
                    expected=wanted,
                    found=facts.etag,
                )
        blobs = self.location.folder / "blobs"
        needed = sum(
            facts.size
            for facts in published.values()
            if not (facts.etag and (blobs / facts.etag).exists())
        )
        check_room(self.location.cache, needed, str(self.location))
        remove_orphans(blobs)

    def _verify(self, name: str, path: Path, published: Published | None) -> None:
        """Compare a file with its published hash, fetching it anew once, then with the caller's."""
        link = checksums.published_name(path)
        stamp = self.location.folder / OURS / (link or f"{self.location.revision}-{_flat(name)}")
        wanted = self.sha256.get(name, "")
        etag = link or (published.etag if published else "")
        if not checksums.is_hash(etag):
            etag = wanted
        if published and not etag:
            log.warning(
                "%s: the hub publishes no hash of %s, so its content cannot be verified; "
                "`zeroshot lock` writes one down",
                self.location,
                name,
            )
        found = _difference(path, etag, stamp)
        if found:
            path = self._fetch_anew(name, path, etag, found, stamp)
        if wanted and wanted != etag:
            found = _difference(path, wanted, stamp)
            if found:
                raise ChecksumError(
                    f"{self.location}: {name} has sha256 {found}, and so the hub published it, "
                    "wanted "
                    f"{wanted}; it is another file than the one that was catalogued or locked: "
                    "name the commit that had it as revision, or lock anew",
                    expected=wanted,
                    found=found,
                )

    def _fetch_anew(self, name: str, path: Path, wanted: str, found: str, stamp: Path) -> Path:
        """Replace a file that is not what was published, or remove it from the cache."""
        if self.offline:
            gone = checksums.remove(path)
            raise self._damaged(name, wanted, found, gone, "Offline mode forbids fetching it anew")
        log.warning(
            "%s: %s has hash %s, wanted %s; fetching it anew", self.location, name, found, wanted
        )
        try:
            check_room(self.location.cache, path.stat().st_size, str(self.location))
            if not path.is_symlink():
                checksums.remove(path)  # the client would leave a copy as it is
            again = client.download(self.location, name, force=True)
        except ZeroshotError:
            checksums.remove(path)
            raise
        if again is None:
            checksums.remove(path)
            raise self.absent(name)
        found = _difference(again, wanted, stamp)
        if found:
            gone = checksums.remove(again)
            raise self._damaged(name, wanted, found, gone, "A second try brought no better one")
        return again

    def _damaged(self, name: str, wanted: str, found: str, gone: bool, why: str) -> ChecksumError:
        kind = "sha256" if checksums.SHA256.fullmatch(wanted) else "git sha1"
        state = (
            "was removed from" if gone else f"must be removed by hand ({self.location.folder}) from"
        )
        return ChecksumError(
            f"{self.location}: {name} has {kind} {found}, wanted {wanted}: it was damaged or "
            "altered "
            f"on its way or on the disk, and {state} the cache. {why}; try another network, or "
            "another mirror in HF_ENDPOINT",
            expected=wanted,
            found=found,
        )


def _difference(path: Path, wanted: str, stamp: Path) -> str:
    """Compare as `checksums.difference` does; a file that cannot be read is the cache's fault."""
    try:
        return checksums.difference(path, wanted, stamp)
    except OSError as error:
        raise cache_unreadable(error, path) from error


def _flat(name: str) -> str:
    return name.replace("/", "--")


def check_room(cache: Path, needed: int, what: str) -> None:
    """Raise CacheError unless as many bytes are free where the cache lies."""
    try:
        folder = next(folder for folder in (cache, *cache.parents) if folder.exists())
        free = shutil.disk_usage(folder).free
    except OSError as error:  # then the download itself will say what is wrong
        log.debug("%s: free space is unknown: %s", cache, error)
        return
    if needed > free:
        raise CacheError(
            f"{cache}: {what} needs {_bytes(needed)} and {_bytes(free)} is free there; make room, "
            "or set HF_HOME (or cache_dir) to a folder with more"
        )


def remove_orphans(blobs: Path) -> None:
    """Remove what killed downloads of this repository left a day ago or earlier."""
    for orphan in blobs.glob("*.incomplete"):
        try:
            if time.time() - orphan.stat().st_mtime > ORPHANED:
                orphan.unlink()
                log.info("%s: left by a download that was cut off; removed", orphan)
        except OSError as error:
            log.debug("%s: cannot be removed: %s", orphan, error)


def _bytes(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.2f} MB"
