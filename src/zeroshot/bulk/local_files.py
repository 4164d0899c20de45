"""Which file on this machine a row of a table is about, and safe names for folders."""

from __future__ import annotations

import hashlib
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from numbers import Real
from pathlib import Path
from typing import Any

from zeroshot.bulk.rows import HASH, SOURCE_BITS
from zeroshot.errors import InputError, shortened

LONGEST_NAME = 120  # bytes of UTF-8; most file systems allow 255
FILE_KINDS = ("list", "iterable")  # of sources whose rows are files of their own

_UNSAFE = (
    re.compile(  # separators, reserved on Windows, control and direction characters, surrogates
        r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]'
    )
)
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\..*)?$")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z0-9+.-]+)*://")  # s3://, zip::s3://


@dataclass(frozen=True)
class Skipped:
    """A row that is about no local file: `reason` is counted in summaries."""

    reason: str


def local_file(row: Mapping[str, Any], kinds: Sequence[str], root: Path) -> Path | Skipped:
    """Return the absolute path of the image of a row.

    `kinds` are the kinds of the sources of the run: a member of an archive is never taken for a
    file, whatever its name is, and the name of an image in a data set only if the file has the same
    bytes. Relative paths start at `root`.
    """
    if row.get("error_kind"):
        return Skipped("error row")
    source = str(row["source"])
    number = int(row.get("row") or 0) >> SOURCE_BITS
    if number < len(kinds) and kinds[number] not in FILE_KINDS:
        return Skipped(f"inside another file or remote ({kinds[number]})")
    if _URL.match(source):
        return Skipped("URL")
    path = root / source
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a null character
        return Skipped("inside another file" if _is_member(root, source) else "file not found")
    if not stat.S_ISREG(mode):
        return Skipped("not a regular file")
    if number < len(kinds) and kinds[number] != "list" and not _has_bytes(path, row.get("hash")):
        return Skipped("another file has the name of the image")
    return path


def _has_bytes(path: Path, digest: object) -> bool:
    """Return whether a file has the bytes of a row.

    An image in a data set may have any path: that of a file on the machine of its author.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH))
    except OSError:
        return False
    return isinstance(digest, bytes) and found.digest() == digest


def _is_member(root: Path, source: str) -> bool:
    """Return whether the part before a "#" is a file."""
    try:
        return "#" in source and (root / source.rpartition("#")[0]).is_file()
    except (OSError, ValueError):
        return False


def safe_name(label: str) -> str:
    """Return a folder name that Linux, macOS and Windows accept, equal for equal labels.

    Different labels may get equal names; `FolderNames` numbers those. The name is in Unicode NFC,
    has at most 120 bytes, no separators, is not hidden and is not a device name of Windows.

    Example:
        >>> safe_name("cat/dog: both?"), safe_name("con"), safe_name("..")
        ('cat_dog_ both_', '_con', '_')
    """
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", label))
    name = " ".join(unicodedata.normalize("NFC", name).split()).rstrip(". ")
    if name.startswith("."):
        name = f"_{name.lstrip('.')}"
    if _DEVICE.match(name.lower()):
        name = f"_{name}"
    return _cut(name, LONGEST_NAME) or "_"


def check_probability(name: str, value: object) -> float:
    """Return a number from 0 to 1. Raises InputError for other values."""
    if isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1:
        return float(value)
    raise InputError(f"{name}={shortened(repr(value))} must be a number from 0 to 1")


class FolderNames:
    """A name for each label, in order; names that differ in case only get a number.

    Example:
        >>> names = FolderNames(reserved=["unsorted"])
        >>> [names[label] for label in ("cat", "Cat", "a/b", "a_b", "unsorted")]
        ['cat', 'Cat_2', 'a_b', 'a_b_2', 'unsorted_2']
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._used = {folded(name) for name in reserved}
        self._names: dict[str, str] = {}

    def __getitem__(self, label: str) -> str:
        if label not in self._names:
            stem = safe_name(label)
            free = (n for _, n in numbered(stem, "", LONGEST_NAME) if folded(n) not in self._used)
            self._names[label] = next(free)
            self._used.add(folded(self._names[label]))
        return self._names[label]


def numbered(stem: str, suffix: str, limit: int, first: int = 1) -> Iterator[tuple[int, str]]:
    """Yield numbers and names: photo.jpg, photo_2.jpg, photo_3.jpg, ..."""
    for number in count(first):
        ending = f"_{number}{suffix}" if number > 1 else suffix
        free = limit - len(ending.encode("utf-8", "surrogateescape"))
        yield number, (_cut(stem, max(free, 1)) if number > 1 else stem) + ending


def folded(name: str) -> str:
    """Return the form under which file systems that ignore case or composition compare names."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _cut(text: str, limit: int) -> str:
    """Cut a text to a number of bytes of UTF-8, at a character."""
    data = text.encode("utf-8", "surrogateescape")
    if len(data) <= limit:
        return text
    return data[:limit].decode("utf-8", "ignore").rstrip(". ")
