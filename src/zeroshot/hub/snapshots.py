"""Download the files of a Hub repository that a model needs, and verify them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from zeroshot.catalog import Entry
from zeroshot.errors import ModelNotFound, OfflineError, ZeroshotError
from zeroshot.hub import client
from zeroshot.hub.client import Published
from zeroshot.hub.downloads import Downloader
from zeroshot.hub.inspection import cached_checkpoints
from zeroshot.hub.location import Location, is_offline, location_of, manual_copy_hint
from zeroshot.weight_files import (
    BYTE_BPE,
    CONFIGS,
    INDEX,
    NESTED,
    TOKENIZERS,
    WEIGHTS,
    check_name,
    read_index,
)

NESTED_CONFIG = f"{NESTED}config.json"
NO_TOKENIZER = (
    "Its config describes a model with a tokenizer of its own: try `hf download`, copy the "
    "tokenizer file of the model that it was trained from into the folder, and load the folder"
)

# Called with configuration files: raises an error for an unsupported model, and returns whether the
# model needs a tokenizer file.
Judge = Callable[[Sequence[Path]], bool]

log = logging.getLogger("zeroshot")


@dataclass(frozen=True)
class Fetched:
    """Verified files of one commit."""

    weights: Path  # passed to the checkpoint reader; its configuration is in the same folder
    commit: str
    files: dict[str, Path]  # by name in the repository, weights last


def fetch(
    repository: str,
    files: Sequence[str] = (),
    *,
    revision: str | None = None,
    sha256: Mapping[str, str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    judge: Judge | None = None,
) -> Fetched:
    """Download files of a Hub repository into the cache and verify their hashes.

    `repository` is "owner/name". `files` are file names, weights last; the default is the
    configuration files and the first weights file with a known name, at the root or in the folder
    of sentence-transformers. `revision` is a branch, tag or commit. `sha256` are expected hashes by
    file name; the default is the published hashes. If `files` is empty, `judge` is called with the
    configuration files before the weights are downloaded. It raises an error for a model that
    cannot be loaded, and returns whether the model needs a tokenizer file: then the first one with
    a known name is downloaded too. Cached files of a commit need no request, those of a branch
    need one.

    Raises ModelNotFound, ModelAccessDenied, OfflineError, ChecksumError, CacheError, DownloadError.
    """
    for name in files:
        check_name(name, repository)
    names = tuple(files) or (*CONFIGS, *WEIGHTS, NESTED_CONFIG, _own_name(repository))
    branch = location_of(repository, revision, cache_dir, tuple(files))
    offline = offline or is_offline()
    location, known = _resolve_commit(branch, names, offline)
    downloader = Downloader(location, dict(sha256 or {}), offline, known)
    found = _fetch_all(downloader, files) if files else _fetch_known(downloader, judge)
    weights = files[-1] if files else next(reversed(found))
    if weights.endswith(INDEX):
        folder = weights.rpartition("/")[0]
        shards = sorted(set(read_index(found[weights]).values()))
        found |= _fetch_all(downloader, [str(PurePosixPath(folder, name)) for name in shards])
        found[weights] = found.pop(weights)  # last
    if not offline and not branch.pinned and client.cached_commit(branch) != location.revision:
        client.store_commit(branch, location.revision)
    return Fetched(found[weights], location.revision, found)


def fetch_checkpoint(
    entry: Entry,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    judge: Judge | None = None,
) -> Fetched:
    """Download a cataloged checkpoint from its repository; see `fetch`.

    If a cataloged file is missing in the repository, the files with known names are used. `judge`
    is called for checkpoints that are read as their config files say.
    """

    def needs_tokenizer(configs: Sequence[Path]) -> bool:
        judged = judge is not None and not entry.preprocess_source and judge(configs)
        return judged or bool(entry.tokenizer)

    cataloged = revision is None or revision == entry.revision
    sha256 = {entry.files[-1]: entry.sha256} if cataloged and entry.files and entry.sha256 else {}
    options: Any = {
        "revision": revision or entry.revision or None,
        "cache_dir": cache_dir,
        "offline": offline,
        "judge": needs_tokenizer,
    }
    try:
        return fetch(entry.repository, entry.files, sha256=sha256, **options)
    except (ModelNotFound, OfflineError) as error:
        error = _with_mirror(error, entry, cache_dir)
        if not entry.files or sha256:
            raise error from None
        try:
            return fetch(entry.repository, **options)
        except type(error):
            raise error from None


def _with_mirror(
    error: ModelNotFound | OfflineError, entry: Entry, cache_dir: str | os.PathLike[str] | None
) -> ModelNotFound | OfflineError:
    """Name a cached repository of the same checkpoint in the error of offline mode."""
    if not isinstance(error, OfflineError) or cache_dir is not None:
        return error
    for found in cached_checkpoints(entry):
        if found.commits and found.repository != entry.repository:
            return OfflineError(
                f"{entry.repository} is not in the cache, and offline mode forbids the download; "
                f"load {found.repository!r}, which is cached and is the same checkpoint"
            )
    return error


def _fetch_all(downloader: Downloader, names: Sequence[str]) -> dict[str, Path]:
    """Return the files by name; raise an error if one is missing."""
    found = downloader.fetch(names)
    for name in names:
        if name not in found:
            raise downloader.missing_error(name)
    return found


def _fetch_known(downloader: Downloader, judge: Judge | None) -> dict[str, Path]:
    """Return the configuration files, a tokenizer file if needed, and last the weights.

    Of tokenizer and weights files, the first with a known name is downloaded.
    """
    at_root = downloader.fetch(CONFIGS)
    for folder in ("", NESTED) if at_root else (NESTED, ""):
        found = at_root
        if folder:
            if not downloader.fetch([NESTED_CONFIG]):
                continue
            found = downloader.fetch([f"{folder}{name}" for name in CONFIGS])
        if judge is not None and judge(tuple(found.values())):
            found = found | _fetch_tokenizer(downloader, folder)
        if weights := _fetch_first(downloader, folder, WEIGHTS):
            return found | weights
    if weights := _fetch_first(downloader, "", (_own_name(downloader.location.repository),)):
        return at_root | weights
    raise downloader.missing_error(" or ".join(WEIGHTS))


def _own_name(repository: str) -> str:
    """Return the name of a weights file that has the name of its repository, as in PE-Core."""
    return f"{repository.rpartition('/')[2]}.pt"


def _fetch_tokenizer(downloader: Downloader, folder: str) -> dict[str, Path]:
    """Return the first tokenizer file with a known name, or the two of a byte-pair encoding."""
    _note_library(downloader, folder)
    if found := _fetch_first(downloader, folder, TOKENIZERS):
        return found
    both = downloader.fetch([f"{folder}{name}" for name in BYTE_BPE])
    if len(both) < len(BYTE_BPE):
        names = (*TOKENIZERS, " with ".join(BYTE_BPE))
        raise downloader.missing_error(" or ".join(names), NO_TOKENIZER)
    return both


def _note_library(downloader: Downloader, folder: str) -> None:
    """Log a warning before the first download of a model whose texts require another package."""
    names = (f"{folder}{name}" for name in (*TOKENIZERS, *BYTE_BPE))
    is_first = not any(isinstance(client.cached(downloader.location, n), Path) for n in names)
    if is_first and find_spec("tokenizers") is None:
        log.warning(
            "%s: texts require the tokenizers package, which is not installed; run: "
            "pip install 'zeroshot-clip[tokenizers]' (images and saved heads do not require it)",
            downloader.location.repository,
        )


def _fetch_first(downloader: Downloader, folder: str, names: Sequence[str]) -> dict[str, Path]:
    """Return the first file of a folder that exists; nothing if none does."""
    files = (downloader.fetch([f"{folder}{name}"]) for name in names)
    return next((found for found in files if found), {})


def _resolve_commit(
    branch: Location, names: Sequence[str], offline: bool
) -> tuple[Location, dict[str, Published]]:
    """Resolve a branch or tag to its commit: from the Hub, or else from the cache."""
    if branch.pinned:
        return branch, {}
    commit = client.cached_commit(branch)
    if offline:
        if commit is None:
            raise OfflineError(
                f"{branch} is not in the cache {branch.cache}, and offline mode forbids the "
                "download; load the model once online, or set HF_HOME to a cache that has it. "
                f"{manual_copy_hint(branch)}"
            )
        return replace(branch, revision=commit), {}
    cached = [] if commit is None else _cached_names(replace(branch, revision=commit), names)
    for probe in dict.fromkeys((*cached[:1], *names)):
        try:
            published = client.head(branch, probe, patient=not cached)
        except ZeroshotError as error:
            if commit is None or not cached:
                raise
            log.warning(
                "%s: using the cached commit %s, because the request failed: %s",
                branch,
                commit,
                error,
            )
            return replace(branch, revision=commit), {}
        if published.commit:
            return replace(branch, revision=published.commit), {probe: published}
    raise ModelNotFound(
        f"{branch} has none of the files {', '.join(names)}; expected a CLIP checkpoint in a "
        "supported layout; check the repository name"
    )


def _cached_names(location: Location, names: Sequence[str]) -> list[str]:
    return [name for name in names if isinstance(client.cached(location, name), Path)]
