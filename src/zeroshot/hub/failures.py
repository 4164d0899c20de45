"""Translate exceptions of huggingface_hub into zeroshot errors with advice."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from urllib.parse import urlsplit

from zeroshot.errors import (
    CacheError,
    DownloadError,
    ModelAccessDenied,
    ModelNotFound,
    ZeroshotError,
    shortened,
)
from zeroshot.hub.location import Location, endpoint, manual_copy_hint, token

TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
HOPELESS = {"ProxyError", "UnsupportedProtocol", "TooManyRedirects", "DecodingError"}
PATIENCE = 30.0  # seconds, the longest Retry-After that is respected
# Error numbers of the file system: the cache is the cause, not the network.
CACHE_ERRNO = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.EMFILE, errno.ENOENT,
}  # fmt: skip


class HubUnreachable(DownloadError):
    """The Hub is unreachable.

    There is no network, the server is down, or it is not a Hugging Face Hub.
    """


def is_transient(error: Exception, attempt: int) -> bool:
    """Return whether another attempt may help, after `attempt` attempts.

    Requests that huggingface_hub itself has retried are not repeated.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    error = _unwrap_forced(error)
    transport = HfHubHTTPError.__mro__[1]  # HTTPError of the HTTP library that the client uses
    if isinstance(error, LocalEntryNotFoundError):
        return False
    if isinstance(error, HfHubHTTPError):
        return http_status(error) in (*TRANSIENT_STATUS, 416) or _is_storage_refusal(error)
    if type(error).__name__.endswith("Timeout") or is_unresolved_host(error):
        return attempt == 1
    if isinstance(error, transport):
        return type(error).__name__ not in HOPELESS and "CERTIFICATE" not in str(error)
    if isinstance(error, OSError):
        return is_wrong_length(error) if error.errno is None else error.errno not in CACHE_ERRNO
    return False


def is_unresolved_host(error: BaseException | None) -> bool:
    """Return whether the host name could not be resolved, as without a network."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        reason = getattr(error, "reason", None)  # urllib wraps the cause
        error = reason if isinstance(reason, OSError) else error.__cause__ or error.__context__
    return False


def is_wrong_length(error: Exception) -> bool:
    """Return whether a download has the wrong length or cannot be resumed."""
    return "Consistency check" in str(error) or http_status(error) == 416


def _unwrap_forced(error: Exception) -> Exception:
    """Return the cause of the ValueError that a failed forced download raises."""
    return (
        error.__cause__
        if isinstance(error.__cause__, Exception) and type(error) is ValueError
        else error
    )


def translate(error: Exception, location: Location, name: str) -> ZeroshotError:
    """Translate any exception of the client into an error with advice."""
    from huggingface_hub import errors as hub_errors

    prefix = f"{location}: {name}"
    error = _unwrap_forced(error)
    if isinstance(error, hub_errors.LocalEntryNotFoundError) and isinstance(
        error.__cause__, Exception
    ):
        error = error.__cause__  # the reason why the request failed
    if isinstance(error, hub_errors.FileMetadataError):
        return not_a_hub_error(location, str(error))
    if refused := _translate_refusal(error, location):
        return refused
    if isinstance(error, hub_errors.HfHubHTTPError):
        return _translate_status(error, location, name)
    if isinstance(error, OSError) and error.errno in CACHE_ERRNO:
        return cache_write_error(error, location.cache)
    if isinstance(error, OSError) and is_wrong_length(error):
        return DownloadError(
            f"{prefix}: the length of every download differs from the one that {endpoint()} "
            "announced; the connection is interrupted or a proxy alters files: try again later or "
            "on another network. "
            f"{manual_copy_hint(location)}"
        )
    kind, words = type(error).__name__, describe(error)
    if kind == "ProxyError":
        advice = "the proxy refuses the connection: check HTTPS_PROXY and NO_PROXY"
    elif "CERTIFICATE" in words:
        advice = (
            "a company proxy often uses its own certificate: save it to a file and set "
            "SSL_CERT_FILE to its path"
        )
    elif isinstance(error, ValueError | TypeError) or kind in ("InvalidURL", "UnsupportedProtocol"):
        return DownloadError(
            f"{prefix}: cannot download from {endpoint()} ({words}); check HF_ENDPOINT and "
            f"HTTPS_PROXY. {manual_copy_hint(location)}"
        )
    elif proxy := _proxy():
        advice = f"check that the proxy {proxy} is running, or correct HTTPS_PROXY and NO_PROXY"
    else:
        advice = "check the network, or set HF_ENDPOINT to a mirror"
    return HubUnreachable(
        f"{prefix} is not cached in {location.cache}, and the download from {endpoint()} failed "
        f"({words}); {advice}. {manual_copy_hint(location)}"
    )


def _translate_refusal(error: Exception, location: Location) -> ZeroshotError | None:
    """Translate the Hub's answer that a repository or revision is gated or unknown, else None."""
    from huggingface_hub import errors as hub_errors

    if isinstance(error, hub_errors.GatedRepoError):
        return ModelAccessDenied(
            f"{location.repository} is gated: accept its terms at "
            f"{endpoint()}/{location.repository}, then set HF_TOKEN or log in with "
            f"`hf auth login`{_login_hint()}"
        )
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return ModelNotFound(
            f"{location.repository} has no revision {location.revision!r}; use a revision listed "
            f"at {endpoint()}/{location.repository}/commits/main, or omit it for the latest"
        )
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return ModelNotFound(
            f"{endpoint()} has no repository {location.repository!r}, or it is private: check the "
            "name; for a private repository set HF_TOKEN or log in with "
            f"`hf auth login`{_login_hint()}"
        )
    return None


def _proxy() -> str:
    """Return host and port of the proxy for the Hub, without its password; "" if there is none."""
    from urllib.request import getproxies, proxy_bypass

    address, proxies = urlsplit(endpoint()), getproxies()
    chosen = proxies.get(address.scheme) or proxies.get("all") or ""
    if not chosen or proxy_bypass(address.hostname or ""):
        return ""
    return shortened(chosen.rpartition("://")[2].rpartition("@")[2])


def _translate_status(error: Exception, location: Location, name: str) -> ZeroshotError:
    """Translate an HTTP status that is not about a missing or gated repository."""
    status = http_status(error)
    prefix = f"{location}: {name}"
    if _is_storage_refusal(error):
        return DownloadError(
            f"{prefix}: the storage server of {endpoint()} refuses every request ({status}); try "
            "again later, or check whether a firewall blocks it. "
            f"{manual_copy_hint(location)}"
        )
    if status == 401:
        return ModelAccessDenied(
            f"{prefix}: {endpoint()} rejects the token (401): it is invalid or expired; set "
            "HF_TOKEN to a new one, unset it for a public model, or run `hf auth login`"
        )
    if status == 403:
        return ModelAccessDenied(
            f"{prefix}: {endpoint()} denies access (403): check that the token can read "
            f"{location.repository}, and that no firewall blocks the URL{_login_hint()}"
        )
    if status == 407:
        return HubUnreachable(
            f"{prefix}: the proxy requires authentication (407); set the user name and password in "
            f"HTTPS_PROXY. {manual_copy_hint(location)}"
        )
    if status == 429:
        return DownloadError(
            f"{prefix}: {endpoint()} received too many requests from this IP address (429); try "
            "again in a few minutes, and set HF_TOKEN: the limit is higher for authenticated users"
        )
    if status >= 500 or status == 408:
        return HubUnreachable(
            f"{prefix}: {endpoint()} is unavailable (status {status} at every attempt); try again "
            f"later, or set HF_ENDPOINT to a mirror. {manual_copy_hint(location)}"
        )
    return DownloadError(
        f"{prefix}: expected the file from {endpoint()}, got status {status}; check HF_ENDPOINT "
        f"and the proxy settings. {manual_copy_hint(location)}"
    )


def _is_storage_refusal(error: Exception) -> bool:
    """Return whether the signed URL of a large file was refused.

    Another request to the Hub returns a new signed URL.
    """
    address = str(getattr(getattr(error, "response", None), "url", ""))
    return http_status(error) in (401, 403) and not address.startswith(endpoint())


def not_a_hub_error(location: Location, why: str) -> HubUnreachable:
    """Return the error for a response that is not from a Hub."""
    return HubUnreachable(
        f"{location}: the server at {endpoint()} is not a Hugging Face Hub ({why}); the response "
        "may come from a proxy or login page: check that URL in a browser, or correct HF_ENDPOINT. "
        f"{manual_copy_hint(location)}"
    )


def cache_write_error(error: OSError, cache: Path) -> CacheError:
    """Translate an error of the file system while writing the cache."""
    what = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheError(
            f"{cache}: the disk is full ({what}); free up space, or set HF_HOME (or cache_dir) to "
            "a folder on a larger disk"
        )
    return CacheError(
        f"{error.filename or cache}: cannot write to the cache {cache} ({what}); fix its "
        "permissions, or set HF_HOME (or cache_dir) to a writable folder"
    )


def cache_read_error(error: OSError, path: Path) -> CacheError:
    """Translate an error of the file system while reading the cache."""
    return CacheError(
        f"{error.filename or path}: cannot read this file of the cache "
        f"({error.strerror or error}); fix its permissions, or set HF_HOME (or cache_dir) to a "
        "readable folder"
    )


def _login_hint() -> str:
    """Explain why the stored login is not sent to a mirror; empty at huggingface.co."""
    if token() is not False:
        return ""
    return f" (the login for huggingface.co is not sent to {endpoint()}; HF_TOKEN is)"


def http_status(error: Exception) -> int:
    """Return the HTTP status of an exception, or 0."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def retry_after(error: Exception) -> float:
    """Return the seconds of the Retry-After header, at most PATIENCE, or 0."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = str(headers.get("Retry-After") or "")
    return min(float(value), PATIENCE) if value.isdecimal() else 0.0


def describe(error: Exception) -> str:
    """Return the type and message of an exception in one line of limited length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:100]}" if text else type(error).__name__
