"""All exceptions that zeroshot raises deliberately, as a tree.

    ZeroshotError
    ├── InputError (ValueError)
    │   ├── ArgumentError (TypeError)
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
    ├── HeadNotFound (FileNotFoundError)
    ├── SaveError (OSError)
    ├── MissingPackage (ImportError)
    ├── DeviceError (RuntimeError)
    └── NonFiniteError (ArithmeticError)

Each class also inherits from the built-in exception in parentheses. Messages name the value, what
was expected and what to do. Attributes hold the facts of the error.

Public functions raise these errors with a short traceback: it ends at the public function, without
the exceptions that led to the error. `error.cause` is the exception behind it, or None. To see the
full traceback, enable debug messages of `logging.getLogger("zeroshot")`.
"""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from zeroshot import migration

P = ParamSpec("P")
R = TypeVar("R")
Class = TypeVar("Class", bound=type)

INTERNAL = ("cause", "_logged")  # attributes that do not cross process boundaries

LONGEST = 570  # characters of a message; callers may add the position of an input

log = logging.getLogger("zeroshot")

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
    """Base class of all errors that zeroshot raises deliberately.

    Attribute: `cause`, the exception behind this error, or None.

    Example:
        >>> try:
        ...     zeroshot.load("./missing.pt")
        ... except zeroshot.ZeroshotError as error:
        ...     print(type(error).__name__)
        ModelNotFound
    """

    cause: BaseException | None = None
    _logged = False

    def __init__(self, message: str = "") -> None:
        super().__init__(fitted(message))

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, unpickling calls the class with the message only. Classes with required
        # attributes would then raise TypeError in another process. The cause stays behind: not
        # every exception can be pickled.
        facts = {name: value for name, value in vars(self).items() if name not in INTERNAL}
        return _rebuild, (type(self), self.args, facts)

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython prints: the caller's frames and the message."""
        frames = traceback.extract_tb(self.__traceback__)
        kept = [frame for frame in frames if not _is_hidden(frame.filename)]
        listed = traceback.format_list(kept)
        message = traceback.format_exception_only(type(self), self)
        return "".join(["Traceback (most recent call last):\n", *listed, *message]).splitlines()


def _is_hidden(filename: str) -> bool:
    """Return whether a frame belongs to this package or to the notebook's own machinery."""
    path = Path(filename)
    inside = path.is_relative_to(Path(__file__).parent)
    return inside or not {"IPython", "ipykernel"}.isdisjoint(path.parts)


def short_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Make a public function raise ZeroshotErrors without inner frames and chained exceptions."""

    @wraps(function)
    def public(*args: P.args, **options: P.kwargs) -> R:
        __tracebackhide__ = True
        outer = sys.exception()  # what the caller is handling; it stays in the traceback
        try:
            result = function(*args, **options)
        except ZeroshotError as error:
            _shorten(error, outer)
            raise
        except TypeError as error:
            inside = error.__traceback__ and error.__traceback__.tb_next  # the call itself failed
            advice = None if inside else migration.argument_advice(function, args, options)
            if advice is None:
                raise
            raise ArgumentError(advice) from None
        return _short_stream(result) if inspect.isgenerator(result) else result  # type: ignore[return-value]

    return public


def short_errors_in(kind: Class) -> Class:
    """Apply `short_errors` to the public methods of a class."""
    special = ("__init__", "__call__", "__add__")
    for name, member in list(vars(kind).items()):
        if name.startswith("_") and name not in special:
            continue
        if isinstance(member, classmethod):
            setattr(kind, name, classmethod(short_errors(member.__func__)))
        elif inspect.isfunction(member):
            setattr(kind, name, short_errors(member))
    return kind


def _short_stream(results: Iterator[R]) -> Iterator[R]:
    __tracebackhide__ = True
    outer = sys.exception()
    try:
        yield from results
    except ZeroshotError as error:
        _shorten(error, outer)
        raise


def _shorten(error: ZeroshotError, outer: BaseException | None) -> None:
    """Move the exception behind an error to `cause`, and drop the frames inside the package."""
    if not error._logged:  # public functions call each other
        log.debug("full traceback of an error:", exc_info=error)
        error._logged = True
    behind = error.__cause__ or error.__context__
    if behind is not None and behind is not outer:
        error.cause = behind
    error.__cause__ = None
    error.__context__ = outer if outer is not error else None
    error.__traceback__ = None


def seen_from(path: Path) -> str:
    """Return a note with the working folder for a relative path, else ""."""
    try:
        return "" if path.is_absolute() else f" (working folder {Path.cwd()})"
    except OSError:
        return " (the working folder was deleted)"


def shortened(text: str, limit: int = 80) -> str:
    """Truncate a text to `limit` characters for use in a message."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def fitted(message: str, limit: int = LONGEST) -> str:
    """Cut the middle out of a message that is too long: the end says what to do."""
    half = limit // 2
    return message if len(message) <= limit else f"{message[:half]} ... {message[5 - half :]}"


def some(names: Sequence[str], limit: int = 10) -> str:
    """List up to `limit` names, and the number of the others."""
    listed = ", ".join(names[:limit])
    return f"{listed} and {len(names) - limit} more" if len(names) > limit else listed


def _rebuild(kind: type[ZeroshotError], args: tuple[Any, ...], facts: dict[str, Any]) -> Any:
    """Rebuild an unpickled error from its message and attributes."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class InputError(ZeroshotError, ValueError):
    """An argument has the wrong type, shape or value."""


class ArgumentError(InputError, TypeError):
    """A function has no such argument; other CLIP libraries do."""


class LabelError(InputError):
    """A label or label set is invalid: empty, duplicate, not text, or a single str."""


class PromptError(InputError):
    """A template or prompt file is invalid, or a prompt set was not found."""


class TokenLimitError(InputError):
    """A text has more tokens than the model accepts.

    Attributes: `text`, the text, and `tokens`, its number of tokens.
    """

    def __init__(self, message: str, *, text: str, tokens: int) -> None:
        super().__init__(message)
        self.text = text
        self.tokens = tokens


class ImageError(ZeroshotError, OSError):
    """An image cannot be read.

    Attributes: `kind`, the reason as one of the strings in `ImageProblem`, and `source`, the path
    or URL of the image, or None.
    """

    def __init__(self, message: str, *, kind: ImageProblem, source: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.source = source


def image_error(kind: ImageProblem, source: str | None, what: str) -> ImageError:
    """Create an ImageError whose message starts with the source, if it is known."""
    message = f"{shortened(source, 300)}: {what}" if source else what
    return ImageError(message, kind=kind, source=source)


class ImageNotFound(ImageError, FileNotFoundError):
    """There is no image file at the given path."""


class ModelNotFound(ZeroshotError, LookupError):
    """There is no checkpoint with that name, path or repository."""


class WeightsError(ZeroshotError, ValueError):
    """A weights file cannot be used.

    Attribute: `source`, its path, or None.
    """

    def __init__(self, message: str, *, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source


class IncompatibleWeights(WeightsError):
    """Tensors are missing, have wrong shapes, or belong to an unsupported model."""


class UnsafeWeightsError(WeightsError):
    """A weights file is corrupted, inconsistent, or requires code execution."""


class DownloadError(ZeroshotError, OSError):
    """A file could not be downloaded."""


class ModelAccessDenied(DownloadError, PermissionError):
    """The repository is gated or private, and there is no token with access."""


class OfflineError(DownloadError):
    """A file is not in the cache, and offline mode forbids downloading it."""


class ChecksumError(DownloadError):
    """A file does not have the expected hash.

    Attributes: `expected` and `found`, the two hashes in hex.
    """

    def __init__(self, message: str, *, expected: str, found: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class CacheError(DownloadError):
    """The cache folder is full, or cannot be read or written."""


class HeadMismatch(ZeroshotError, ValueError):
    """A head was built for another model, or its file is not a head."""


class HeadNotFound(ZeroshotError, FileNotFoundError):
    """There is no head file at the given path."""


class SaveError(ZeroshotError, OSError):
    """A file cannot be written.

    Attributes: `source`, its path, and `cause`, the OSError with the reason.
    """

    def __init__(self, message: str, *, source: str) -> None:
        super().__init__(message)
        self.source = source


class MissingPackage(ZeroshotError, ImportError):
    """An optional package is not installed."""


class DeviceError(ZeroshotError, RuntimeError):
    """A device is out of memory, or was initialized before this process was forked."""


class ShiftWarning(UserWarning):
    """New images look different from the calibration images, so promises do not hold for them."""


class NonFiniteError(ZeroshotError, ArithmeticError):
    """The network produced NaN or infinity.

    Attribute: `rows`, the indices of the affected inputs.
    """

    def __init__(self, message: str, *, rows: list[int]) -> None:
        super().__init__(message)
        self.rows = rows
