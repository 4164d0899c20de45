"""A model's name or path becomes verified files on this disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from zeroshot.catalog import Entry
from zeroshot.errors import (
    CacheError,
    DownloadError,
    ModelAccessDenied,
    ModelNotFound,
    OfflineError,
)

# What a repository of unknown layout is asked for: its configuration, then its weights.
CONFIGS = ("open_clip_config.json", "config.json", "preprocessor_config.json")
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


def fetch(
    repository: str,
    files: Sequence[str] = (),
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Path:
    """Bring a hub repository's files into the cache and return the folder they lie in.

    With no `files` the repository is asked for configuration files and the first weights file of
    a known name. Raises ModelNotFound, ModelAccessDenied, OfflineError, CacheError, DownloadError.
    """

    def one(name: str) -> Path | None:
        return _file(repository, name, revision=revision, cache_dir=cache_dir, offline=offline)

    if files:
        paths = [one(name) for name in files]
        for name, path in zip(files, paths, strict=True):
            if path is None:
                raise _absent(repository, name, revision, offline)
    else:
        for name in CONFIGS:
            one(name)
        paths = [next((path for name in WEIGHTS if (path := one(name))), None)]
    if paths[-1] is None:
        raise _absent(repository, " or ".join(WEIGHTS), revision, offline)
    return paths[-1].parent


def fetch_entry(
    entry: Entry,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Path:
    """Bring a catalogued checkpoint's files into the cache; see `fetch`."""
    return fetch(
        entry.repository,
        entry.files,
        revision=revision or entry.revision or None,
        cache_dir=cache_dir,
        offline=offline,
    )


def _file(
    repository: str,
    name: str,
    *,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool,
) -> Path | None:
    """Fetch one file, or return None when the repository has none of that name."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{repository}@{revision}" if revision else repository
    try:
        return Path(
            hf_hub_download(
                repository,
                name,
                revision=revision,
                cache_dir=None if cache_dir is None else os.fspath(cache_dir),
                local_files_only=offline or constants.is_offline_mode(),
            )
        )
    except LocalEntryNotFoundError as error:
        if offline or constants.is_offline_mode():
            return None
        raise DownloadError(
            f"{where}: {name} is not in the cache and {constants.ENDPOINT} cannot be reached; "
            "connect, set HF_ENDPOINT to a mirror, or copy the repository's files into a folder "
            "and load that folder"
        ) from error
    except EntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise ModelAccessDenied(
            f"{where}: the repository is gated; accept its terms on {constants.ENDPOINT}/"
            f"{repository} and set HF_TOKEN, or log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFound(f"{repository}: has no revision {revision!r}") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(
            f"{repository}: no such repository on {constants.ENDPOINT}, or it is private; check "
            "the name, and set HF_TOKEN for a private one"
        ) from error
    except HfHubHTTPError as error:
        raise DownloadError(f"{where}: fetching {name} failed: {error}; try again") from error
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise CacheError(
                f"{error.filename}: the cache cannot be written ({error.strerror}); set HF_HOME "
                "or cache_dir to a folder with room"
            ) from error
        raise DownloadError(f"{where}: fetching {name} failed: {error}; try again") from error


def _absent(
    repository: str, name: str, revision: str | None, offline: bool
) -> ModelNotFound | OfflineError:
    where = f"{repository}@{revision}" if revision else repository
    if offline:
        return OfflineError(
            f"{where}: {name} is not in the cache, and offline mode forbids fetching it; load it "
            "once online, or copy the repository's files into a folder and load that folder"
        )
    return ModelNotFound(f"{where}: holds no {name}; it is not a CLIP of a known layout")
