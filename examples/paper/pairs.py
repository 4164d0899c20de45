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
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from zeroshot import Sample, label_files
from zeroshot.errors import InputError, shortened, some
from zeroshot.labeling.shards import IMAGES, NAME, Member
from zeroshot.labeling.sources import SUFFIXES
from zeroshot.labeling.tables import PATHS

TABLES = ("captions.csv", "captions.tsv", "captions.jsonl", "metadata.csv", "metadata.jsonl")
CAPTIONS = ("caption", "text", "title")
MAX_CAPTION = 1 << 16  # bytes of a .txt file


class Skipped(dict[str, str]):
    """Images that are not used, by name, with the reason."""

    def __str__(self) -> str:
        if not self:
            return "no image skipped"
        parts = []
        for reason, number in sorted(Counter(self.values()).items()):
            examples = [name for name, why in self.items() if why == reason]
            parts.append(f"{number} {reason} ({shortened(some(examples, 2), 160)})")
        return f"skipped {len(self)}: {'; '.join(parts)}"


@dataclass(frozen=True)
class Pairs:
    """Images and the caption of each.

    Attributes:
        images: Paths, or samples of a tar file that are read when they are indexed.
        captions: The caption of each image.
        skipped: What was found and is no pair.
    """

    images: Sequence[str | Sample]
    captions: tuple[str, ...]
    skipped: Skipped = field(default_factory=Skipped)

    def __len__(self) -> int:
        return len(self.captions)


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


def _name(place: str | Member) -> str:
    return place if isinstance(place, str) else f"{place.path}/{place.name}"


def read(path: Path) -> Pairs:
    """Read the pairs of a folder, a table or a tar file.

    Raises InputError if there is no pair, or if a table or tar file is malformed.
    """
    skipped = Skipped()
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


def _read_folder(folder: Path, skipped: Skipped) -> Iterator[tuple[str | Member, str]]:
    """Yield the pairs of the table, then those of .txt files, then those of tar files."""
    tables = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(tables) > 1:
        raise InputError(
            f"{folder}: expected one table, got {', '.join(each.name for each in tables)}; remove "
            "all but one"
        )
    listed = list(_read_table(tables[0])) if tables else []
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
        text = label_files.decode(path.read_bytes())
        if suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            cells = label_files.read_rows(text, "\t" if suffix == ".tsv" else ",")
            rows = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    except (ValueError, RecursionError, csv.Error) as error:  # also UnicodeDecodeError, InputError
        problem = shortened(str(error), 200)
        raise InputError(f"{path}: malformed {suffix[1:]} ({problem}); correct it") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise InputError(
                f"{path}: row {number}: expected a JSON object, got {shortened(repr(row))}"
            )
        place = _cell(row, PATHS, "path", f"{path}: row {number}")
        caption = _cell(row, CAPTIONS, "caption", f"{path}: row {number}")
        yield place if "://" in place else os.path.join(path.parent, place), caption


def _cell(row: dict[str, Any], names: Sequence[str], what: str, where: str) -> str:
    """Return the text of the one column that has any of the names."""
    found = [key for key in row if str(key).strip().lower() in names]
    if len(found) != 1 or not isinstance(row[found[0]], str):
        got = {key: row[key] for key in found} or list(row)
        raise InputError(
            f"{where}: expected text in one column for the {what} ({', '.join(names[:3])}), got "
            f"{shortened(repr(got), 150)}; correct the table"
        )
    return str(row[found[0]])


# Tar files


def _read_tar(path: Path, skipped: Skipped) -> Iterator[tuple[Member, str]]:
    """Yield the image and the caption of each sample of a WebDataset file."""
    samples: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                found = NAME.fullmatch(info.name) if info.isreg() and not info.issparse() else None
                if found:
                    member = Member(path, info.name, info.offset_data, info.size)
                    samples.setdefault(found[1], {})[found[2].lower()] = member
    except tarfile.TarError as error:
        raise InputError(
            f"{path}: not a readable tar file ({shortened(str(error), 100)}); compressed files "
            "must be unpacked first, others downloaded again"
        ) from error
    for files in samples.values():
        image = next((files[each] for each in IMAGES if each in files), None)
        if image is None:
            continue  # metadata of its own name; an image is what is counted
        text = files.get("txt")
        if text is None:
            skipped[_name(image)] = "without a caption"
        elif text.size > MAX_CAPTION or (caption := _decode(text.read)) is None:
            skipped[_name(image)] = "whose .txt file is not UTF-8 text of at most 64 KiB"
        else:
            yield image, caption
