"""The few files that a model needs of a hub repository, brought into the cache and verified."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zeroshot.catalog import Entry
from zeroshot.errors import ModelNotFound, OfflineError, ZeroshotError
from zeroshot.hub import client
from zeroshot.hub.client import Published
from zeroshot.hub.downloads import Delivery
from zeroshot.hub.location import Location, by_hand, is_offline, location_of
from zeroshot.weight_files import CONFIGS, INDEX, WEIGHTS, check_name, read_index

log = logging.getLogger("zeroshot")


@dataclass(frozen=True)
class Fetched:
    """Verified files of one commit."""

    weights: Path  # what a reader is given; its configuration lies beside it
    commit: str
    files: dict[str, Path]  # by name in the repository, the weights last


def fetch(
    repository: str,
    files: Sequence[str] = (),
    *,
    revision: str | None = None,
    sha256: Mapping[str, str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Fetched:
    """Bring a hub repository's files into the cache, each with the hash that was published.

    With no `files` the repository is asked for configuration files and the first weights file of
    a known name. `sha256` tells hashes by file name; without, those that the hub publishes hold.
    Files of a commit that are in the cache cost no request, those of a branch cost one.
    Raises ModelNotFound, ModelAccessDenied, OfflineError, ChecksumError, CacheError, DownloadError.
    """
    for name in files:
        check_name(name, repository)
    wanted = tuple(files) or (*CONFIGS, *WEIGHTS)
    branch = location_of(repository, revision, cache_dir, tuple(files))
    offline = offline or is_offline()
    location, known = _pin(branch, wanted, offline)
    delivery = Delivery(location, dict(sha256 or {}), offline, known)
    found: dict[str, Path] = {}
    if files:
        found = delivery.bring(files)
        for name in files:
            if name not in found:
                raise delivery.absent(name)
        weights = files[-1]
    else:
        found = delivery.bring(CONFIGS)
        weights = _first_weights(delivery, found)
    if weights.endswith(INDEX):
        shards = sorted(set(read_index(found[weights]).values()))
        found.update(delivery.bring(shards))
        for name in shards:
            if name not in found:
                raise delivery.absent(name)
        found[weights] = found.pop(weights)  # last
    if not offline and not branch.pinned and client.known_commit(branch) != location.revision:
        client.remember_commit(branch, location.revision)
    return Fetched(found[weights], location.revision, found)


def fetch_checkpoint(
    entry: Entry,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Fetched:
    """Bring a catalogued checkpoint from its repository; see `fetch`.

    Where a catalogued file has gone from the repository, those of the known names serve.
    """
    catalogued = revision is None or revision == entry.revision
    sha256 = {entry.files[-1]: entry.sha256} if catalogued and entry.files and entry.sha256 else {}
    at = revision or entry.revision or None
    options: Any = {"revision": at, "cache_dir": cache_dir, "offline": offline}
    try:
        return fetch(entry.repository, entry.files, sha256=sha256, **options)
    except (ModelNotFound, OfflineError) as error:
        if not entry.files or sha256:
            raise
        try:
            return fetch(entry.repository, **options)
        except type(error):
            raise error from None


def _first_weights(delivery: Delivery, found: dict[str, Path]) -> str:
    """Bring the first weights file that exists into `found`, and return its name."""
    for name in WEIGHTS:
        found.update(delivery.bring([name]))
        if name in found:
            return name
    raise delivery.absent(" or ".join(WEIGHTS))


def _pin(
    branch: Location, wanted: Sequence[str], offline: bool
) -> tuple[Location, dict[str, Published]]:
    """Find the commit a branch is at: from the hub, or failing that from the cache."""
    if branch.pinned:
        return branch, {}
    commit = client.known_commit(branch)
    if offline:
        if commit is None:
            raise OfflineError(
                f"{branch}: nothing of it is in the cache {branch.cache}, and offline mode forbids "
                f"fetching it; load it once online, or set HF_HOME to the cache that holds it. "
                f"{by_hand(branch)}"
            )
        return replace(branch, revision=commit), {}
    here = [] if commit is None else _in_cache(replace(branch, revision=commit), wanted)
    for probe in dict.fromkeys((*here[:1], *wanted)):
        try:
            published = client.head(branch, probe, patient=not here)
        except ZeroshotError as error:
            if commit is None or not here:
                raise
            log.warning(
                "%s: the cached commit %s is used, as asking failed: %s", branch, commit, error
            )
            return replace(branch, revision=commit), {}
        if published.commit:
            return replace(branch, revision=published.commit), {probe: published}
    raise ModelNotFound(
        f"{branch} holds none of {', '.join(wanted)}; it is not a CLIP of a known layout"
    )


def _in_cache(location: Location, names: Sequence[str]) -> list[str]:
    return [name for name in names if isinstance(client.cached(location, name), Path)]
