"""What can go wrong between here and a hub, as errors of ours that say what to do."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from zeroshot.errors import (
    CacheError,
    DownloadError,
    ModelAccessDenied,
    ModelNotFound,
    ZeroshotError,
)
from zeroshot.hub.location import Location, by_hand, endpoint, token

TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
HOPELESS = {"ProxyError", "UnsupportedProtocol", "TooManyRedirects", "DecodingError"}
PATIENCE = 30.0  # seconds, the longest Retry-After that is waited for
# What the file system says when the cache is at fault, not the network.
CACHE_ERRNO = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.EMFILE, errno.ENOENT,
}  # fmt: skip


class HubUnreachable(DownloadError):
    """No hub answered: no network, a server that is down, or something that is not a hub."""


def transient(error: Exception, attempt: int) -> bool:
    """Whether another try may help; what the client itself has retried is not tried again."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    error = _cause_of_force(error)
    transport = HfHubHTTPError.__mro__[1]  # HTTPError of whichever HTTP library the client uses
    if isinstance(error, LocalEntryNotFoundError):
        return False
    if isinstance(error, HfHubHTTPError):
        return status_of(error) in (*TRANSIENT_STATUS, 416) or _refused_by_storage(error)
    if type(error).__name__.endswith("Timeout") or unresolved(error):
        return attempt == 1
    if isinstance(error, transport):
        return type(error).__name__ not in HOPELESS and "CERTIFICATE" not in str(error)
    if isinstance(error, OSError):
        return wrong_length(error) if error.errno is None else error.errno not in CACHE_ERRNO
    return False


def unresolved(error: BaseException | None) -> bool:
    """Whether the name of the host was not found: without a network that stays so."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        reason = getattr(error, "reason", None)  # urllib wraps what went wrong
        error = reason if isinstance(reason, OSError) else error.__cause__ or error.__context__
    return False


def wrong_length(error: Exception) -> bool:
    """Whether fewer or more bytes came than were announced, or than could be continued."""
    return "Consistency check" in str(error) or status_of(error) == 416


def _cause_of_force(error: Exception) -> Exception:
    """Return what kept the client from a forced download, which it reports as a ValueError."""
    return (
        error.__cause__
        if isinstance(error.__cause__, Exception) and type(error) is ValueError
        else error
    )


def translated(error: Exception, location: Location, name: str) -> ZeroshotError:
    """Turn any exception of the client into one of ours that says what to do."""
    from huggingface_hub import errors as theirs

    here = f"{location}: {name}"
    error = _cause_of_force(error)
    if isinstance(error, theirs.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what kept the client from asking
    if isinstance(error, theirs.FileMetadataError):
        return not_a_hub(location, str(error))
    if isinstance(error, theirs.GatedRepoError):
        return ModelAccessDenied(
            f"{location.repository} is gated: accept its terms at "
            f"{endpoint()}/{location.repository}, "
            f"then set HF_TOKEN or log in with `hf auth login`{_withheld()}"
        )
    if isinstance(error, theirs.RevisionNotFoundError):
        return ModelNotFound(
            f"{location.repository} has no revision {location.revision!r}; name one of those "
            "listed at "
            f"{endpoint()}/{location.repository}/commits/main, or none for the latest"
        )
    if isinstance(error, theirs.RepositoryNotFoundError):
        return ModelNotFound(
            f"{endpoint()} has no repository {location.repository!r}, or it is private: check the "
            f"name, and for a private one set HF_TOKEN or log in with `hf auth login`{_withheld()}"
        )
    if isinstance(error, theirs.HfHubHTTPError):
        return _refused(error, location, name)
    if isinstance(error, OSError) and error.errno in CACHE_ERRNO:
        return cache_error(error, location.cache)
    if isinstance(error, OSError) and wrong_length(error):
        return DownloadError(
            f"{here}: at every try fewer or more bytes came than {endpoint()} announced; the "
            "connection is cut or a proxy alters files: try again later or elsewhere. "
            f"{by_hand(location)}"
        )
    kind, words = type(error).__name__, said(error)
    if kind == "ProxyError":
        advice = "the proxy refuses: check HTTPS_PROXY and NO_PROXY"
    elif "CERTIFICATE" in words:
        advice = (
            "a company's proxy often signs with its own certificate: put it in a file and name "
            "that in SSL_CERT_FILE"
        )
    elif isinstance(error, ValueError | TypeError) or kind in ("InvalidURL", "UnsupportedProtocol"):
        return DownloadError(
            f"{here}: cannot be fetched from {endpoint()} ({words}); check HF_ENDPOINT and "
            f"HTTPS_PROXY. {by_hand(location)}"
        )
    else:
        advice = "check the network, or set HF_ENDPOINT to a mirror"
    return HubUnreachable(
        f"{here} is not in the cache {location.cache}, and {endpoint()} did not deliver it "
        f"({words}); "
        f"{advice}. {by_hand(location)}"
    )


def _refused(error: Exception, location: Location, name: str) -> ZeroshotError:
    """Translate an answer of 400 or more that is not about a missing or gated thing."""
    status = status_of(error)
    here = f"{location}: {name}"
    if _refused_by_storage(error):
        return DownloadError(
            f"{here}: the storage that {endpoint()} points to refuses ({status}) at every try; "
            f"try again later, or check whether a firewall lets it through. {by_hand(location)}"
        )
    if status == 401:
        return ModelAccessDenied(
            f"{here}: {endpoint()} does not accept the token (401): it is wrong or expired; set "
            "HF_TOKEN to a new one, unset it for a public model, or run `hf auth login`"
        )
    if status == 403:
        return ModelAccessDenied(
            f"{here}: {endpoint()} forbids access (403): check that the token may read "
            f"{location.repository}, and that no firewall refuses the address{_withheld()}"
        )
    if status == 407:
        return HubUnreachable(
            f"{here}: a proxy wants to be told who asks (407); put user and password into "
            f"HTTPS_PROXY. {by_hand(location)}"
        )
    if status == 429:
        return DownloadError(
            f"{here}: {endpoint()} has had too many requests from this address (429); wait some "
            "minutes, and set HF_TOKEN: who is logged in may ask more"
        )
    if status >= 500 or status == 408:
        return HubUnreachable(
            f"{here}: {endpoint()} answers {status} at every try; it is out of order: try again "
            f"later, or set HF_ENDPOINT to a mirror. {by_hand(location)}"
        )
    return DownloadError(
        f"{here}: {endpoint()} answers {status}, wanted the file; check HF_ENDPOINT and proxies. "
        f"{by_hand(location)}"
    )


def _refused_by_storage(error: Exception) -> bool:
    """Whether the signed address of a large file was refused; asking anew brings a fresh one."""
    address = str(getattr(getattr(error, "response", None), "url", ""))
    return status_of(error) in (401, 403) and not address.startswith(endpoint())


def not_a_hub(location: Location, why: str) -> HubUnreachable:
    """Return the error of an answer that lacks what every hub says."""
    return HubUnreachable(
        f"{location}: what answers at {endpoint()} is not a hub ({why}); a proxy or a login page "
        "may "
        "stand in between: open that address in a browser, or correct HF_ENDPOINT. "
        f"{by_hand(location)}"
    )


def cache_error(error: OSError, cache: Path) -> CacheError:
    """Translate what the file system said while the cache was written."""
    what = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheError(
            f"{cache}: the disk is full ({what}); make room, or set HF_HOME (or cache_dir) to a "
            "folder with more"
        )
    return CacheError(
        f"{error.filename or cache}: cannot be written ({what}), so nothing new fits into the "
        f"cache {cache}; set HF_HOME (or cache_dir) to a folder of yours"
    )


def cache_unreadable(error: OSError, path: Path) -> CacheError:
    """Translate what the file system said while the cache was read."""
    return CacheError(
        f"{error.filename or path}: is in the cache and cannot be read "
        f"({error.strerror or error}); mend its permissions, or set HF_HOME (or cache_dir) to a "
        "folder of yours"
    )


def _withheld() -> str:
    """Explain, at a mirror, why a login was not used."""
    if token() is not False:
        return ""
    return f" (a login made for huggingface.co is not sent to {endpoint()}; HF_TOKEN is)"


def status_of(error: Exception) -> int:
    """Return the HTTP status of an answer that became an exception, or 0."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def retry_after(error: Exception) -> float:
    """Return how many seconds the server asks us to wait, within reason."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = str(headers.get("Retry-After") or "")
    return min(float(value), PATIENCE) if value.isdecimal() else 0.0


def said(error: Exception) -> str:
    """Return an exception's kind and words in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
