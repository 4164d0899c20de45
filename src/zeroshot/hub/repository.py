"""The few files that a model needs of a hub repository, brought into the cache and verified."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from zeroshot.catalog import Entry
from zeroshot.errors import (
    ModelNotFound,
    OfflineError,
    UnsafeWeightsError,
    ZeroshotError,
)
from zeroshot.hub import client
from zeroshot.hub.client import Published
from zeroshot.hub.delivery import Delivery
from zeroshot.hub.place import Place, by_hand, is_offline, place_of

# What a repository of unknown layout is asked for: its configuration, then its weights, of which
# the first that exists is fetched, safetensors before pickles.
CONFIGS = (
    "open_clip_config.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
WEIGHTS = (
    "open_clip_model.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
INDEX = ".index.json"  # names the files that a checkpoint is sharded over
INDEX_LIMIT = 32 << 20  # bytes

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
        _check_name(name, repository)
    wanted = tuple(files) or (*CONFIGS, *WEIGHTS)
    branch = place_of(repository, revision, cache_dir, tuple(files))
    offline = offline or is_offline()
    place, known = _pin(branch, wanted, offline)
    delivery = Delivery(place, dict(sha256 or {}), offline, known)
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
        shards = shards_of(found[weights])
        found.update(delivery.bring(shards))
        for name in shards:
            if name not in found:
                raise delivery.absent(name)
        found[weights] = found.pop(weights)  # last
    if not offline and not branch.pinned and client.known_commit(branch) != place.revision:
        client.remember_commit(branch, place.revision)
    return Fetched(found[weights], place.revision, found)


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


def shards_of(index: Path) -> list[str]:
    """Return the files that a sharded checkpoint's index names, in order and once each."""
    try:
        if index.stat().st_size > INDEX_LIMIT:
            raise ValueError(f"larger than {INDEX_LIMIT} bytes")
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("names no files")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnsafeWeightsError(
            f"{index}: not an index of a sharded checkpoint ({type(error).__name__}: {error}); "
            "wanted JSON with a weight_map of tensor to file",
            source=str(index),
        ) from error
    for name in names:
        _check_name(name, str(index))
    return names


def _check_name(name: str, source: str) -> None:
    """Refuse a file name that would leave the repository's folder."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise UnsafeWeightsError(
            f"{source}: names a file {name!r}, which lies outside the repository; not fetched",
            source=source,
        )


def _pin(branch: Place, wanted: Sequence[str], offline: bool) -> tuple[Place, dict[str, Published]]:
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


def _in_cache(place: Place, names: Sequence[str]) -> list[str]:
    return [name for name in names if isinstance(client.cached(place, name), Path)]
