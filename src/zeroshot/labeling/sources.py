"""Find images in paths, URLs, folders, glob patterns, lists of paths and pipes."""

from __future__ import annotations

import errno
import glob
import io
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from zeroshot.errors import InputError, image_error, shortened, some

if TYPE_CHECKING:
    from zeroshot.images import Sample

SUFFIXES = {  # file types to find in folders: what Pillow registers for the supported formats
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo", ".png", ".apng", ".webp", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".avif", ".avifs", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    *(".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl"),  # require extras of the package
}
MAX_PIPE = 200_000_000  # bytes of an image read from a pipe
UTF16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
UTF32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")  # the first starts like UTF-16
UTF8_MARK = b"\xef\xbb\xbf"


class Skipped:
    """Counts what a search in folders skipped, by reason, with an example of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, example: str) -> None:
        """Count one file or folder."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if example not in examples and len(examples) < 6:
            examples.append(example)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __str__(self) -> str:
        parts = [
            f"{count} {reason} ({shortened(some(self._examples[reason], 5), 120)})"
            for reason, count in sorted(self._counts.items())
        ]
        return f"skipped {len(self)} in folders: {'; '.join(parts)}"


def expand(argument: str, skipped: Skipped | None = None) -> Iterator[str]:
    """Yield the images of one argument: a file, a URL, a folder or a glob pattern.

    Folders are searched recursively; what is not an image is added to `skipped`. A file that a
    pattern matches and that is also in a folder it matches is yielded once. Raises InputError for
    a pattern without matches.
    """
    if glob.has_magic(argument) and not os.path.exists(argument) and "://" not in argument:
        found = sorted(glob.glob(argument, recursive=True))
        if not found:
            raise InputError(
                f"no file matches the pattern {argument!r}; check the pattern and the folder"
            )
        yield from _once(walk(found, skipped))
    else:
        yield from walk([argument], skipped)


def _once(paths: Iterable[str]) -> Iterator[str]:
    """Yield each path once, in its first spelling."""
    seen: set[str] = set()
    for path in paths:
        plain = os.path.normpath(path)
        if plain not in seen:
            seen.add(plain)
            yield path


def walk(paths: Iterable[str], skipped: Skipped | None = None) -> Iterator[str]:
    """Yield paths; for a folder, yield all image files in it, sorted by name.

    Links to folders are followed, each folder once per path. Names that start with a dot, such as
    the ._ files of macOS, are ignored.
    """
    skipped = Skipped() if skipped is None else skipped
    for path in paths:
        if os.path.isdir(path):
            yield from _walk_folder(path, skipped, set())
        else:
            yield path


def _walk_folder(folder: str, skipped: Skipped, visited: set[tuple[int, int]]) -> Iterator[str]:
    pending = [folder]
    while pending:
        path = pending.pop()
        if not os.path.isdir(path):
            yield path
            continue
        try:
            facts = os.stat(path)
            if (facts.st_dev, facts.st_ino) in visited:
                continue  # a link to a folder that was searched already
            visited.add((facts.st_dev, facts.st_ino))
            names = sorted(os.listdir(path), reverse=True)
        except OSError as error:
            skipped.add(f"unreadable folder: {error.strerror}", path)
            continue
        inside = [os.path.join(path, name) for name in names if not name.startswith(".")]
        pending += [each for each in inside if _is_wanted(each, skipped)]


def _is_wanted(path: str, skipped: Skipped) -> bool:
    """Return whether a path in a folder is an image file or a folder."""
    try:
        mode_is_folder = os.path.isdir(path)
        os.stat(path)
    except OSError as error:
        is_link = error.errno in (errno.ENOENT, errno.ELOOP)
        skipped.add("broken link" if is_link else f"unreadable file: {error.strerror}", path)
        return False
    if mode_is_folder:
        return True
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        skipped.add("with an unsupported suffix", suffix or os.path.basename(path))
        return False
    if not os.path.isfile(path):
        skipped.add("not a regular file", path)
        return False
    return True


def read_start(file: BinaryIO) -> bytes:
    """Read the first bytes of a pipe, enough to distinguish the content of an image from text.

    Text is not waited for: its first bytes are returned as they arrive.
    """
    from zeroshot.images.formats import HEAD, may_be_file_content

    start = b""
    while len(start) < HEAD and may_be_file_content(start):
        piece = file.read1(HEAD - len(start))  # type: ignore[attr-defined]
        if not piece:
            break
        start += piece
    return start


def read_image(file: BinaryIO, name: str, start: bytes = b"") -> Sample:
    """Read an image from a pipe, of which the bytes `start` were read already.

    Raises ImageError for more than MAX_PIPE bytes.
    """
    from zeroshot.images import Sample

    content = start + file.read(MAX_PIPE + 1 - len(start))
    if len(content) > MAX_PIPE:
        raise image_error(
            "too_large_bytes",
            name,
            f"expected an image of at most {MAX_PIPE} bytes, got more; save it to a file and pass "
            "its path",
        )
    return Sample(name, content)


def read_list(
    file: BinaryIO, *, start: bytes = b"", null: bool = False, encoding: str = "utf-8"
) -> Iterator[str]:
    """Yield one path per line, without pattern expansion.

    A byte order mark is removed, and text in UTF-16 or UTF-32 with one is decoded. Other bytes that
    are invalid in the encoding are kept as surrogate escapes.

    Args:
        file: Binary file, read as far as paths are taken.
        start: Bytes that were read from the file already.
        null: Paths are separated by NUL instead of line breaks, as `find -print0` writes them.
        encoding: Encoding of the text.

    Raises:
        InputError: The text contains NUL without `null`, or is no list of paths with `null`.
    """
    if null:
        content = start + file.read()
        _check_separated_by_nul(content)
        for part in content.split(b"\0"):
            if part:
                yield part.decode(encoding, "surrogateescape")
        return
    if not start.endswith(b"\n"):
        start += file.readline()
    lines = chain(io.BytesIO(start), file)
    for number, line in enumerate(lines):
        if number == 0 and line.startswith((*UTF16, *UTF32)):
            encoding = "utf-32" if line.startswith(UTF32) else "utf-16"
            yield from _read_marked(line + b"".join(lines), encoding)
            return
        if number == 0:
            line = line.removeprefix(UTF8_MARK)
        if b"\0" in line:
            raise InputError(
                "expected an image, or image paths, one per line, on standard input, got NUL "
                "bytes; use -0 for the output of `find -print0`"
            )
        path = line.decode(encoding, "surrogateescape").rstrip("\r\n")
        if path.strip():
            yield path


def _check_separated_by_nul(content: bytes) -> None:
    """Raise InputError for an image, and for a list with a path per line."""
    from zeroshot.images.formats import HEAD, is_file_content

    expected = "expected paths separated by NUL on standard input with -0"
    if is_file_content(content[:HEAD]):
        raise InputError(f"{expected}, but standard input is an image; omit -0")
    if b"\n" in content and b"\0" not in content:
        raise InputError(f"{expected}, but standard input contains line breaks; omit -0")


def _read_marked(content: bytes, encoding: str) -> Iterator[str]:
    """Yield the lines of text in an encoding with a byte order mark."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected image paths, got invalid {encoding.upper()} ({error.reason}); save the list "
            "as UTF-8"
        ) from error
    yield from (path for path in text.replace("\r\n", "\n").split("\n") if path.strip())
