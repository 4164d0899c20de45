"""Repository locations: Hub endpoint, revision, cache folder and token."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from zeroshot.errors import InputError, ModelAccessDenied, ModelNotFound, shortened

COMMIT = re.compile(r"[0-9a-f]{40}")
MAX_LENGTH = 255  # characters of a repository or revision, as of a file name
COPY_HINT = "Without a network: "  # start of the hint at the end of a message
MINI_HINT = "The model 'mini' needs no network"
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # variables, the first that is set is sent
REPOSITORY = re.compile(r"(\b[\w.-]+\b/)?\b[\w.-]{1,96}\b(?<!\.git)", re.ASCII)
REVISION = re.compile(r"(?!/)(?!.*\.\.)[\w./+@=-]+(?<!/)")


@dataclass(frozen=True)
class Location:
    """A repository at a revision, and the cache folder for its files."""

    repository: str
    revision: str  # branch, tag or commit
    cache: Path
    files: tuple[str, ...] = ()  # file names, for messages

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"

    @property
    def folder(self) -> Path:
        """The cache folder of this repository's blobs, refs and snapshots."""
        return self.cache / f"models--{self.repository.replace('/', '--')}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, whose content never changes."""
        return COMMIT.fullmatch(self.revision) is not None


def location_of(
    repository: str,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    files: tuple[str, ...],
) -> Location:
    """Validate the name and revision of a repository, and return its location.

    `cache_dir` defaults to the cache of huggingface_hub. `files` are shown in messages.
    Raises ModelNotFound for an invalid name, InputError for an invalid revision.
    """
    from huggingface_hub import constants

    invalid = "--" in repository or ".." in repository or len(repository) > MAX_LENGTH
    if invalid or not REPOSITORY.fullmatch(repository):
        raise ModelNotFound(
            f"{shortened(repository)!r} is not a valid Hub repository; expected owner/name with "
            "letters, digits, '-', '_' and '.'; check the name"
        )
    long = len(revision or "") > MAX_LENGTH
    if revision is not None and (long or not REVISION.fullmatch(revision)):
        raise InputError(
            "expected a branch, a tag or a commit of 40 hex digits as revision, got "
            f"{shortened(revision)!r}; omit it for the latest"
        )
    revision = revision or constants.DEFAULT_REVISION
    return Location(repository, revision, cache_folder(cache_dir), files)


def cache_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Return `cache_dir`, or by default HF_HUB_CACHE or hub/ in HF_HOME."""
    from huggingface_hub import constants

    folder = constants.HF_HUB_CACHE if cache_dir is None else os.fspath(cache_dir)
    return Path(os.path.realpath(os.path.expanduser(folder)))


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE or an equivalent variable forbids requests."""
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


def endpoint() -> str:
    """Return the URL of the Hub: HF_ENDPOINT or https://huggingface.co."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def token() -> str | bool | None:
    """Return the `token` argument for huggingface_hub.

    None lets the client choose, False sends no token. huggingface.co gets the client's default.
    Any other server in HF_ENDPOINT gets HF_TOKEN if it is set, because both variables were then
    set together. Raises ModelAccessDenied as `find_token`.
    """
    found = find_token()
    return None if _is_own_hub() else found or False


def find_token() -> str:
    """Return the token that is sent to the Hub: of a variable, or the stored login; "" for none.

    The stored login belongs to huggingface.co and is not sent to other servers. Raises
    ModelAccessDenied for a token that cannot be sent in a header, or a login that cannot be read.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return ""
    for variable in TOKENS:
        if named := os.environ.get(variable, "").strip():
            advice = f"copy it again from {endpoint()}/settings/tokens, or unset {variable}"
            _check_token(named, variable, advice)
            return named
    return _read_login(Path(constants.HF_TOKEN_PATH)) if _is_own_hub() else ""


def _is_own_hub() -> bool:
    """Return whether the endpoint is that of Hugging Face."""
    address = urlsplit(endpoint())
    host = address.hostname or ""
    is_own = host == "hf.co" or f".{host}".endswith(".huggingface.co")
    return address.scheme == "https" and is_own


def _read_login(path: Path) -> str:
    """Return the token that `hf auth login` stored, or ""."""
    try:
        stored = path.read_text("utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ModelAccessDenied(
            f"{path}: cannot read the stored login ({error.strerror or error}); fix its "
            "permissions, or set HF_TOKEN"
        ) from error
    advice = f"log in again with `hf auth login`, or remove {path}"
    _check_token(stored, f"the login stored in {path}", advice)
    return stored


def _check_token(token: str, name: str, advice: str) -> None:
    """Raise ModelAccessDenied if the token cannot be sent in a header. It is not shown."""
    odd = [place for place, letter in enumerate(token) if not "!" <= letter <= "~"]
    if odd:
        raise ModelAccessDenied(
            f"{name} is not a valid token: expected ASCII letters, digits and punctuation, got "
            f"another character at position {odd[0] + 1} of {len(token)}; {advice} for a public "
            "model"
        )


def manual_copy_hint(location: Location) -> str:
    """Explain how to copy the files without a network."""
    names = ", ".join(location.files) or "the weights and the *.json, *.model and *.txt files"
    return (
        f"{COPY_HINT}on another machine, copy {names} from {endpoint()}/{location.repository} "
        f"into a folder, and load that folder. {MINI_HINT}"
    )


def strip_copy_hint(message: str) -> str:
    """Remove the hint of `manual_copy_hint` from the end of a message."""
    return message.partition(COPY_HINT)[0].rstrip()
