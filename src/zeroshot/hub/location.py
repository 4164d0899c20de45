"""A repository at a revision, on which hub, in which cache, and who asks."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from zeroshot.errors import InputError, ModelNotFound

COMMIT = re.compile(r"[0-9a-f]{40}")
REPOSITORY = re.compile(r"(\b[\w.-]+\b/)?\b[\w.-]{1,96}\b(?<!\.git)", re.ASCII)
REVISION = re.compile(r"(?!/)(?!.*\.\.)[\w./+@=-]+(?<!/)")


@dataclass(frozen=True)
class Location:
    """A repository at a revision, and the cache that its files go to."""

    repository: str
    revision: str  # branch, tag or commit
    cache: Path
    wanted: tuple[str, ...] = ()  # file names, for messages

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"

    @property
    def folder(self) -> Path:
        """Where the client keeps this repository's blobs, refs and snapshots."""
        return self.cache / f"models--{self.repository.replace('/', '--')}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return COMMIT.fullmatch(self.revision) is not None


def location_of(
    repository: str,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    wanted: tuple[str, ...],
) -> Location:
    """Return the location of a repository, its name and revision checked."""
    from huggingface_hub import constants

    if not REPOSITORY.fullmatch(repository) or "--" in repository or ".." in repository:
        raise ModelNotFound(
            f"{repository!r} is no hub repository; one is named owner/name, in letters, digits, "
            "'-', '_' and '.'"
        )
    if revision is not None and not REVISION.fullmatch(revision):
        raise InputError(f"revision is {revision!r}, wanted a branch, a tag or a commit of 40 hex")
    revision = revision or constants.DEFAULT_REVISION
    return Location(repository, revision, cache_folder(cache_dir), wanted)


def cache_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder asked for, or else the client's: HF_HUB_CACHE, or hub/ in HF_HOME."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser().resolve()


def is_offline() -> bool:
    """Tell whether HF_HUB_OFFLINE or its kin forbids requests."""
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


def endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT or https://huggingface.co."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def token() -> str | bool | None:
    """Decide what to identify ourselves with, in the client's terms.

    The Hugging Face hub gets what the client would send it. Another address in HF_ENDPOINT gets
    HF_TOKEN when that is set, as both were then named together, and never a login made for
    huggingface.co.
    """
    from huggingface_hub import constants

    address = urlsplit(endpoint())
    host = address.hostname or ""
    if address.scheme == "https" and (host == "hf.co" or f".{host}".endswith(".huggingface.co")):
        return None
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return False
    named = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or ""
    return named.strip() or False


def by_hand(location: Location) -> str:
    """Say how the files get here without a network."""
    names = ", ".join(location.wanted) or "the *.json and *.safetensors files"
    return (
        f"Without a network: on another machine copy {names} from "
        f"{endpoint()}/{location.repository} "
        "into a folder, and load that folder here by its path. The model 'mini' is in the package "
        "and needs no network"
    )
