"""Define the errors that clients get, and their shapes in each request form."""

from __future__ import annotations

from typing import Any

from zeroshot.errors import ImageError, ImageProblem

PROBLEMS: dict[ImageProblem, str] = {
    "not_image": "the data is not an image",
    "unsupported_format": "unsupported image format; use JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF; "
    "HEIC requires an extra of the server",
    "truncated": "the image is truncated; send the whole file",
    "too_large_bytes": "the image has too many bytes; send a smaller one",
    "too_many_pixels": "the image has too many pixels; send a smaller one, or raise --max-pixels",
    "decode_failed": "the image is corrupted and cannot be decoded",
    "url_refused": "the URL was refused or could not be downloaded; send the image itself",
    "timeout": "the download of the URL timed out; send the image itself",
}
CODE = "zeroshot.code"  # key of the error's code in the scope of a request, for the log
TYPES = {401: "authentication_error", 404: "not_found_error", 503: "server_busy", 504: "timeout"}


class ApiError(Exception):
    """A request that is answered with an error.

    `message` is shown to the client: it contains no path, key or bytes of an image. `kind` is a
    short code for programs.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request",
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers of the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def busy() -> ApiError:
    """Return the error for a request when the queue is full."""
    return ApiError(503, "the server is busy; try again later", "busy", retry_after=1)


def draining() -> ApiError:
    """Return the error for a request while the server stops."""
    return ApiError(503, "the server is shutting down; try again later", "draining", retry_after=1)


def timed_out() -> ApiError:
    """Return the error for a request that was not answered before the deadline."""
    return ApiError(504, "the request was not answered in time; try again later", "timeout")


def too_large(limit: int) -> ApiError:
    """Return the error for a request with too many bytes; downloaded images count."""
    message = f"expected at most {limit} bytes in a request"
    return ApiError(413, message, "body_too_large")


def internal() -> ApiError:
    """Return the error for a fault of the server."""
    return ApiError(500, "internal error; the log has the details of this request id", "internal")


def image_problem(error: ImageError) -> ApiError:
    """Return what a client learns of an image that cannot be read."""
    message = PROBLEMS.get(error.kind, "the image cannot be read")
    return ApiError(422, message, error.kind)


def to_openai(error: ApiError) -> dict[str, Any]:
    """Return the body of an error in OpenAI's shape, which is ours too."""
    default = "invalid_request_error" if error.status < 500 else "server_error"
    kind = TYPES.get(error.status, default)
    return {"error": {"message": error.message, "type": kind, "code": error.kind}}


def to_task(error: ApiError) -> dict[str, Any]:
    """Return the body of an error in the shape of Hugging Face's tasks."""
    return {"error": error.message}


def to_body(error: ApiError, method: str, path: str) -> dict[str, Any]:
    """Return the body of an error in the shape of the request form of a path."""
    is_task = method == "POST" and (path == "/" or path.startswith(("/models/", "/pipeline/")))
    return to_task(error) if is_task else to_openai(error)
