"""Read pairs of an image and its caption from a folder, a table or WebDataset tar files.

A folder may contain one or more of these:

- images, also in subfolders, each with a .txt file of the same name;
- one table: captions.csv, .tsv or .jsonl with the columns `path` and `caption`, or
  metadata.csv or .jsonl with `file_name` and `text`, as `datasets` names them
  (https://huggingface.co/docs/datasets/image_dataset); paths are relative to the folder;
- .tar files, also in subfolders, in which an image and a .txt file have the same name
  (https://github.com/webdataset/webdataset).

Captions are read at once, images when they are indexed. What is not used is counted in `skipped`.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from zeroshot import Sample, label_files
from zeroshot.errors import InputError, shortened, some
from zeroshot.labeling import shards, tables
from zeroshot.labeling.shards import Member
from zeroshot.labeling.sources import SUFFIXES

TABLES = ("captions.csv", "captions.tsv", "captions.jsonl", "metadata.csv", "metadata.jsonl")
CAPTIONS = ("caption", "text", "title")
MAX_CAPTION = 1 << 16  # bytes of a .txt file


class Unused(dict[str, str]):
    """Images that are not used, by name, with the reason."""

    def __str__(self) -> str:
        if not self:
            return "no image skipped"
        parts = []
        for reason, number in sorted(Counter(self.values()).items()):
            examples = [name for name, why in self.items() if why == reason]
            parts.append(f"{number} {reason} ({shortened(some(examples, 2), 160)})")
        return f"skipped {len(self)}: {'; '.join(parts)}"


class Images(Sequence["str | Sample"]):
    """Paths and members of tar files; a member is read when it is indexed."""

    def __init__(self, places: Sequence[str | Member]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str | Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[str | Sample]: ...
    def __getitem__(self, index: int | slice) -> str | Sample | list[str | Sample]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        place = self._places[index]
        return place if isinstance(place, str) else Sample(_name(place), place.read())

    def digest(self) -> str:
        """Return a hash of the file names and sizes, in order: the same if a folder is moved."""
        listed = hashlib.sha256()
        for place in self._places:
            name, size = (place.name, place.size) if isinstance(place, Member) else _facts(place)
            listed.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        return listed.hexdigest()


def _facts(path: str) -> tuple[str, int]:
    """Return the name of a file and its size in bytes, -1 without a file."""
    try:
        return os.path.basename(path), os.stat(path).st_size
    except (OSError, ValueError):  # training skips and counts it; ValueError: a null character
        return os.path.basename(path), -1


def _name(place: str | Member) -> str:
    return place if isinstance(place, str) else f"{place.path}/{place.name}"


@dataclass(frozen=True)
class Pairs:
    """Images and the caption of each.

    Attributes:
        images: Paths, or samples of a tar file that are read when they are indexed.
        captions: The caption of each image.
        skipped: What was found and is no pair.
    """

    images: Images
    captions: tuple[str, ...]
    skipped: Unused = field(default_factory=Unused)

    def __len__(self) -> int:
        return len(self.captions)


def read(path: Path) -> Pairs:
    """Read the pairs of a folder, a table or a tar file.

    Raises InputError if there is no pair, or if a table or tar file is malformed.
    """
    skipped = Unused()
    try:
        if path.is_dir():
            found = list(_read_folder(path, skipped))
        elif path.suffix.lower() == ".tar":
            found = list(_read_tar(path, skipped))
        else:
            found = list(_read_table(path))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); pass a folder, a table or a .tar"
        ) from error
    places: list[str | Member] = []
    captions: list[str] = []
    for place, caption in found:
        if words := " ".join(caption.split()):
            places.append(place)
            captions.append(words)
        else:
            skipped[_name(place)] = "with an empty caption"
    if not places:
        raise InputError(
            f"{path}: expected images with captions, got none ({skipped}); add a .txt file beside "
            f"each image, or one of {', '.join(TABLES)}"
        )
    return Pairs(Images(places), tuple(captions), skipped)


# Folders


def _read_folder(folder: Path, skipped: Unused) -> Iterator[tuple[str | Member, str]]:
    """Yield the pairs of the table, then those of .txt files, then those of tar files."""
    present = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(present) > 1:
        raise InputError(
            f"{folder}: expected one table, got {', '.join(each.name for each in present)}; remove "
            "all but one"
        )
    listed = list(_read_table(present[0])) if present else []
    yield from listed
    in_table = {os.path.normpath(place) for place, _ in listed}
    files = sorted(each for each in folder.rglob("*") if not each.name.startswith("."))
    for file in files:
        if file.suffix.lower() not in SUFFIXES or os.path.normpath(file) in in_table:
            continue
        text = file.with_suffix(".txt")
        if not text.is_file():
            skipped[str(file)] = "without a caption"
        elif (caption := _decode(text.read_bytes)) is None:
            skipped[str(file)] = "whose .txt file is not UTF-8 text of at most 64 KiB"
        else:
            yield str(file), caption
    for file in files:
        if file.suffix.lower() == ".tar":
            yield from _read_tar(file, skipped)


def _decode(read_bytes: Any) -> str | None:
    """Return the caption in a .txt file, or None if it is not a caption."""
    content: bytes = read_bytes()
    try:
        return label_files.decode(content) if len(content) <= MAX_CAPTION else None
    except UnicodeDecodeError:
        return None


# Tables


def _read_table(path: Path) -> Iterator[tuple[str, str]]:
    """Yield path and caption of each row of a .csv, .tsv or .jsonl file."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl"):
        raise InputError(
            f"{path}: expected a folder, or a .csv, .tsv, .jsonl or .tar file, got "
            f"{suffix or 'no suffix'!r}; convert it"
        )
    try:
        header, rows = tables.parse(label_files.decode(path.read_bytes()), suffix)
        if not rows:
            return
        places = tables.choose(header, tables.PATHS, "paths", "path")
        captions = tables.choose(header, CAPTIONS, "captions", "caption")
        for number, row in enumerate(rows, 1):
            place, caption = tables.locate(row.get(places), path.parent, number), row.get(captions)
            if not isinstance(caption, str):
                raise InputError(
                    f"row {number}: expected text as caption, got {shortened(repr(caption))}; "
                    "correct it"
                )
            yield place, caption
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, RecursionError, csv.Error) as error:
        problem = shortened(str(error), 200)
        raise InputError(f"{path}: malformed {suffix[1:]} ({problem}); correct it") from error


# Tar files


def _read_tar(path: Path, skipped: Unused) -> Iterator[tuple[Member, str]]:
    """Yield the image and the caption of each sample of a WebDataset file."""
    for files in shards.members(path).values():
        image = next((files[each] for each in shards.IMAGES if each in files), None)
        if image is None:
            continue  # metadata of its own name; an image is what is counted
        text = files.get("txt")
        if text is None:
            skipped[_name(image)] = "without a caption"
        elif text.size > MAX_CAPTION or (caption := _decode(text.read)) is None:
            skipped[_name(image)] = "whose .txt file is not UTF-8 text of at most 64 KiB"
        else:
            yield image, caption
