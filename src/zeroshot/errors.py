"""Every exception that zeroshot raises on purpose, drawn as a tree.

    ZeroshotError
    ├── InputError (ValueError)
    │   ├── LabelError
    │   ├── PromptError
    │   └── TokenLimitError
    ├── ImageError (OSError)
    │   └── ImageNotFound (FileNotFoundError)
    ├── ModelNotFound (LookupError)
    ├── WeightsError (ValueError)
    │   ├── IncompatibleWeights
    │   └── UnsafeWeightsError
    ├── DownloadError (OSError)
    │   ├── ModelAccessDenied (PermissionError)
    │   ├── OfflineError
    │   ├── ChecksumError
    │   └── CacheError
    ├── HeadMismatch (ValueError)
    └── NonFiniteError (ArithmeticError)

Each also inherits the builtin a caller would already catch, says what came, what was wanted and
what to do, and keeps the offending fact as an attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

ImageProblem = Literal[
    "not_found",
    "permission",
    "not_image",
    "unsupported_format",
    "truncated",
    "too_large_bytes",
    "too_many_pixels",
    "decode_failed",
    "bad_values",
    "bad_shape",
    "bad_type",
    "url_refused",
    "timeout",
]


class ZeroshotError(Exception):
    """Base of everything raised on purpose; catch it to catch them all."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with the message alone, which loses the facts: an error
        # that crosses a process border would become a TypeError.
        return _again, (type(self), self.args, self.__dict__)


def seen_from(path: Path) -> str:
    """Say from where a relative path was looked up, if that folder still exists."""
    try:
        return "" if path.is_absolute() else f" (working folder {Path.cwd()})"
    except OSError:
        return " (the working folder was deleted)"


def shortened(text: str, limit: int = 80) -> str:
    """Cut a long text that a message repeats."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def some(names: Sequence[str], limit: int = 10) -> str:
    """List up to `limit` names, and how many more there are."""
    listed = ", ".join(names[:limit])
    return f"{listed} and {len(names) - limit} more" if len(names) > limit else listed


def _again(kind: type[ZeroshotError], args: tuple[Any, ...], facts: dict[str, Any]) -> Any:
    """Make an error anew from its message and facts."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class InputError(ZeroshotError, ValueError):
    """An argument has the wrong type, shape or value."""


class LabelError(InputError):
    """A label or label set cannot be used: empty, duplicate, not text, or a bare str."""


class PromptError(InputError):
    """A template or prompt file is malformed, or a prompt set has no such name."""


class TokenLimitError(InputError):
    """A text has more tokens than the model reads; `text` and `tokens` say which and how many."""

    def __init__(self, message: str, *, text: str, tokens: int) -> None:
        super().__init__(message)
        self.text = text
        self.tokens = tokens


class ImageError(ZeroshotError, OSError):
    """An image cannot be read; `kind` says why, `source` which one."""

    def __init__(self, message: str, *, kind: ImageProblem, source: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.source = source


def image_error(kind: ImageProblem, source: str | None, what: str) -> ImageError:
    """Make an ImageError whose message starts with the image's name, where it has one."""
    return ImageError(f"{source}: {what}" if source else what, kind=kind, source=source)


class ImageNotFound(ImageError, FileNotFoundError):
    """No file at the given path."""


class ModelNotFound(ZeroshotError, LookupError):
    """No checkpoint of that name, path or repository."""


class WeightsError(ZeroshotError, ValueError):
    """A weights file cannot be used; `source` is its path."""

    def __init__(self, message: str, *, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source


class IncompatibleWeights(WeightsError):
    """Tensors are missing, misshapen or of a model this package does not implement."""


class UnsafeWeightsError(WeightsError):
    """The file is damaged, lies about its contents, or asks to run code."""


class DownloadError(ZeroshotError, OSError):
    """A file could not be fetched."""


class ModelAccessDenied(DownloadError, PermissionError):
    """The repository is gated or private and the token, if any, does not open it."""


class OfflineError(DownloadError):
    """The file is not in the cache and offline mode forbids fetching it."""


class ChecksumError(DownloadError):
    """A fetched file does not have the published sha256; `expected` and `found` hold both."""

    def __init__(self, message: str, *, expected: str, found: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class CacheError(DownloadError):
    """The cache folder is full or cannot be written."""


class HeadMismatch(ZeroshotError, ValueError):
    """A head was built for another model, or its file is not a head."""


class NonFiniteError(ZeroshotError, ArithmeticError):
    """The network produced NaN or infinity; `rows` lists the inputs at fault."""

    def __init__(self, message: str, *, rows: list[int]) -> None:
        super().__init__(message)
        self.rows = rows
