"""Turn what a user gives into sources, in the same order."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zeroshot.bulk.folder import RUN
from zeroshot.bulk.items import Source
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources import listing, parquet, remote, tar, video
from zeroshot.bulk.sources import zip as zip_files
from zeroshot.bulk.sources.iterables import FrameRows, IterableSource, refuse
from zeroshot.bulk.sources.listing import Listing, SkippedFiles
from zeroshot.bulk.sources.reading import Options
from zeroshot.errors import InputError, seen_from, shortened
from zeroshot.images import is_single
from zeroshot.images.inputs import name_of_text
from zeroshot.labeling.sources import SUFFIXES as IMAGES
from zeroshot.labeling.sources import expand

STDIN = "-"


@dataclass(frozen=True)
class Kind:
    """A kind of file that contains images."""

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[str, Options], Sequence[Source]]
    has_columns: bool = False


SOURCES = (
    Kind("parquet", parquet.SUFFIXES, parquet.open_source, has_columns=True),
    Kind("zip", zip_files.SUFFIXES, zip_files.open_source),
    Kind("tar", tar.SUFFIXES, tar.open_source),
    Kind("video", video.SUFFIXES, video.open_source),
)


def open_sources(
    inputs: Any,
    *,
    column: str | None = None,
    keep: Sequence[str] = (),
    fps: float | None = None,
    every: int | None = None,
) -> list[Source]:
    """Find the images in files, folders, archives, tables, videos and Python objects.

    Supported inputs, or a list of them:
    - an image file, a folder (searched recursively), a pattern, an http(s) URL, or a URL of
      another file system, such as s3://bucket/folder;
    - "-" for paths on standard input; a .txt file with a path per line; a CSV, TSV or JSON Lines
      file with a column of paths, which are relative to the folder of the file;
    - a zip or tar archive, a Parquet file, a folder of `Dataset.save_to_disk`, a video;
    - any iterable of images, or of mappings with an image, such as a `datasets.Dataset`;
      a data frame, whose columns contain images or paths.

    Consecutive images become one source; each archive, Parquet file and video is a source. A
    folder without images stands for the archives, Parquet files and videos in it.

    Args:
        inputs: What contains the images.
        column: Column of a table with the images. By default it is found by type and name.
        keep: Columns of a table to copy to the output.
        fps: Frames to take per second of a video; 1 by default.
        every: Take one of so many frames of a video, in place of `fps`.

    Raises:
        InputError: An input does not exist or cannot be read, or an argument is invalid.
        MissingPackage: An input requires a package that is not installed.

    Example:
        >>> from zeroshot.bulk.sources import open_sources
        >>> [source.kind for source in open_sources(["cat.jpg", "https://example.com/dog.jpg"])]
        ['list']
    """
    options = _check(column, keep, fps, every)
    frame = FrameRows.of(inputs)
    if frame is not None:
        return [IterableSource(frame, options)]
    if is_single(inputs):
        inputs = [inputs]
    elif getattr(inputs, "ndim", None) == 1 and hasattr(inputs, "tolist"):  # of numpy or pandas
        inputs = inputs.tolist()
    if isinstance(inputs, Mapping) or not isinstance(inputs, Iterable):
        refuse(inputs)
    if isinstance(inputs, set | frozenset):
        raise InputError(
            f"expected images in a fixed order, got a {type(inputs).__name__}, whose order differs "
            "in each process; pass sorted(...)"
        )
    if not isinstance(inputs, list | tuple) or not all(map(_is_path, inputs)):
        return [IterableSource(inputs, options)]
    finder = _Finder(options)
    for path in inputs:
        finder.add(path if isinstance(path, str) else os.fspath(path))
    return finder.finish()


def _check(
    column: str | None, keep: Sequence[str], fps: float | None, every: int | None
) -> Options:
    if isinstance(keep, str) or not all(isinstance(name, str) for name in keep):
        raise InputError(f"expected keep as a list of columns, got {shortened(repr(keep))}")
    if len(set(keep)) != len(keep):
        raise InputError(f"expected each column of keep once, got {shortened(repr(keep))}")
    if column is not None and not isinstance(column, str):
        raise InputError(f"expected column as text, got {shortened(repr(column))}")
    if fps is not None and every is not None:
        raise InputError(f"expected fps or every, got both ({fps}, {every}); omit one")
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps <= 1000):
        raise InputError(f"expected fps as frames per second, 0 to 1000, got {fps!r}")
    if every is not None and not (type(every) is int and every > 0):
        raise InputError(f"expected every as a number of frames, at least 1, got {every!r}")
    return Options(column, tuple(keep), None if fps is None else float(fps), every)


def _is_path(value: object) -> bool:
    """Return whether this is a path or URL, and no other text."""
    if isinstance(value, str):
        return not _is_embedded(value)
    return isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)


def _is_embedded(value: object) -> bool:
    """Return whether a text is an image: a data URI or base64."""
    return isinstance(value, str) and name_of_text(value) is not None


def find_kind(name: str) -> Kind | None:
    """Return the kind of a file that contains images, by its suffix."""
    base = os.path.basename(name).lower()
    return next((kind for kind in SOURCES if base.endswith(kind.suffixes)), None)


class _Finder:
    """Collects sources; images that follow each other form one listing."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._sources: list[Source] = []
        self._has_columns = False
        self._begin()

    def _begin(self) -> None:
        self._arguments: list[str] = []
        self._names: list[str] = []
        self._kept: list[tuple[Any, ...]] = []
        self._skipped: Counter[str] = Counter()

    def add(self, argument: str) -> None:
        """Add what one argument stands for."""
        names, kept = len(self._names), len(self._sources)
        self._add(argument)
        if len(self._names) > names or len(self._sources) == kept:
            self._arguments.append(argument)

    def finish(self) -> list[Source]:
        """Return the sources. Raises InputError if there are none, or no columns to keep."""
        self._end()
        if not self._sources:
            raise InputError("no images: nothing was given, or the folders contain none")
        if self._options.keep and not self._has_columns:
            raise InputError(
                f"expected a table for the columns {shortened(', '.join(self._options.keep), 150)},"
                " got none; omit keep, or pass a CSV, JSON Lines or Parquet file"
            )
        return self._sources

    def _add(self, argument: str) -> None:
        suffix = os.path.splitext(argument)[1].lower()
        if argument == STDIN:
            self._add_stdin()
        elif remote.is_remote(argument) and (listed := remote.list_files(argument)) is not None:
            self._add_files(argument, listed)
        elif os.path.isdir(argument):
            self._add_folder(argument)
        elif _is_pattern(argument):
            self._add_pattern(argument)
        elif suffix in listing.LISTS:
            for path in listing.read_paths(argument):
                self._add_entry(path)
        elif suffix in listing.TABLES:
            names, kept = listing.read_table(argument, self._options)
            self._has_columns = True
            self._extend(names, kept)
        else:
            _check_exists(argument, suffix)
            self._add_entry(argument)

    def _add_entry(self, path: str) -> None:
        """Add a file or a folder."""
        kind = find_kind(path)
        if not path.startswith(remote.WEB) and os.path.isdir(path):
            self._add_folder(path)
        elif kind is None:
            self._extend([path])
        elif path.startswith(remote.WEB):
            raise InputError(
                f"{shortened(path, 300)}: expected the URL of an image, got that of an archive or "
                "video; download it and pass the file"
            )
        else:
            self._end()
            self._has_columns = self._has_columns or kind.has_columns
            self._sources += kind.open(path, self._options)

    def _add_folder(self, folder: str) -> None:
        if parquet.is_saved(folder):
            self._end()
            self._has_columns = True
            self._sources += parquet.open_saved(folder, self._options)
            return
        skipped = SkippedFiles()
        names = list(expand(folder, skipped))
        if names:
            self._skipped.update(skipped.suffixes)
            self._extend(names)
            return
        found = [path for path in _walk(folder, skipped) if find_kind(path)]
        if not found:
            reason = str(skipped) if len(skipped) else "it is empty"
            raise InputError(f"{shortened(folder, 300)}: no images in the folder; {reason}")
        for path in found:
            self._add_entry(path)

    def _add_pattern(self, pattern: str) -> None:
        found = [path for path in sorted(glob.glob(pattern, recursive=True)) if not _is_table(path)]
        if not any(find_kind(path) for path in found):
            skipped = SkippedFiles()
            self._extend(list(expand(pattern, skipped)))  # raises InputError for no match
            self._skipped.update(skipped.suffixes)
            return
        folder: str | None = None
        for path in found:
            if folder is not None and path.startswith(folder):
                continue  # ** matches folders and the files in them
            if os.path.isdir(path):
                folder = os.path.join(path, "")
            if find_kind(path) or _suffix(path) in IMAGES or os.path.isdir(path):
                self._add_entry(path)
            else:
                self._skipped[_suffix(path)] += 1

    def _add_files(self, argument: str, urls: list[str]) -> None:
        """Add the files of a remote folder or pattern, as a local one."""
        images = [url for url in urls if _suffix(url) in IMAGES and not _is_hidden(url)]
        if images:
            self._skipped.update(_suffix(url) for url in urls if _suffix(url) not in IMAGES)
            self._extend(images)
            return
        found = [url for url in urls if find_kind(url)]
        if not found:
            raise InputError(f"{shortened(argument, 300)}: no images there; check the URL")
        for url in found:
            self._add_entry(url)

    def _add_stdin(self) -> None:
        from zeroshot.images.formats import HEAD, is_file_content

        if sys.stdin is None:  # the process was started without one
            raise InputError("expected paths on standard input for -, which is closed; pass a file")
        content = sys.stdin.buffer.read()
        if is_file_content(content[:HEAD]):
            raise InputError(
                "expected paths on standard input, one per line, got an image; save it to a file"
            )
        for path in listing.split_paths(content):
            self._add_entry(path)

    def _extend(self, names: Sequence[str], kept: Sequence[tuple[Any, ...]] | None = None) -> None:
        self._names += names
        if self._options.keep:
            self._kept += kept if kept is not None else [self._options.nothing] * len(names)

    def _end(self) -> None:
        """Close the listing, if there is one."""
        if self._names:
            name = _describe(self._arguments) if self._arguments else printable(self._names[0])
            found = Listing.from_names(self._names, self._kept, self._options.keep)
            found.name, found.skipped = name, self._skipped
            self._sources.append(found)
        self._begin()


def _describe(arguments: Sequence[str]) -> str:
    """Return a short name of arguments; other arguments have another name."""
    whole = ", ".join(map(printable, arguments))
    short = shortened(", ".join(map(printable, arguments[:4])), 200)
    if short == whole:
        return short
    digest = hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()
    return f"{short} ({len(arguments)} inputs, {digest})"


def _suffix(url: str) -> str:
    return os.path.splitext(url)[1].lower()


def _is_hidden(url: str) -> bool:
    return url.rpartition("/")[2].startswith(".")


def _walk(folder: str, skipped: SkippedFiles) -> Iterator[str]:
    """Yield the files in a folder, sorted, without hidden ones and tables of `label`."""
    for path, folders, names in os.walk(folder):
        if path != folder and RUN in names:  # the output may be inside the input
            folders.clear()
            skipped.add("a table of labels", path)
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(path, name)


def _is_table(path: str) -> bool:
    """Return whether this is a table that `label` wrote, or a file in it."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    return os.path.isfile(os.path.join(folder, RUN))


def _is_pattern(argument: str) -> bool:
    return glob.has_magic(argument) and not os.path.exists(argument) and "://" not in argument


def _check_exists(path: str, suffix: str) -> None:
    """Raise InputError for a path that does not exist and is not that of an image."""
    if "://" in path or suffix in IMAGES or os.path.exists(path):
        return
    from pathlib import Path

    raise InputError(
        f"{shortened(path, 300)}: no such file or folder{shortened(seen_from(Path(path)), 150)}; "
        "check the path"
    )
