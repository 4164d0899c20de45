"""Read the tar files of a benchmark's data set, as CLIP_benchmark stores them.

A folder contains `classnames.txt`, perhaps `zeroshot_classification_templates.txt`, and a folder
per split with `nshards.txt` and `0.tar`, `1.tar`, ...: WebDataset files, in which an image and a
.cls file with its class number have the same name. With `multilabel` in `dataset_type.txt`, a .npy
file has 1 for each class in the image. Source: clip_benchmark/datasets/builder.py
of LAION-AI/CLIP_benchmark.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from zeroshot import label_files
from zeroshot.errors import InputError, shortened
from zeroshot.labeling.tables import distinct

if TYPE_CHECKING:
    from zeroshot.images import Sample

NAMES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
TYPE, SHARDS = "dataset_type.txt", "nshards.txt"
SPLIT = "test"
IMAGES = ("jpg", "jpeg", "png", "webp")
NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)")  # up to the first dot, as WebDataset groups files
DIGITS = 18  # of a number
MAX_LABEL = 1 << 20  # bytes of a .cls or .npy file


@dataclass(frozen=True)
class Shards:
    """The images of a split, their truth, and what the folder says of the labels."""

    images: Sequence[Sample]
    truth: list[Any]
    labels: dict[str, list[str]] | None
    templates: tuple[str, ...] | None


@dataclass(frozen=True)
class Member:
    """Where a file is in a tar file."""

    path: Path
    name: str
    start: int
    size: int

    def read(self) -> bytes:
        """Return the content."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


class Images(Sequence["Sample"]):
    """The images in tar files, each read when it is needed."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        from zeroshot.images import Sample

        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        member = self._members[index]
        return Sample(f"{member.path}/{member.name}", member.read())


def is_shards(folder: Path) -> bool:
    """Return whether a folder is a data set in tar files."""
    return any((folder / SPLIT / name).exists() for name in (SHARDS, "0.tar"))


def read(folder: Path) -> Shards:
    """Read the test split of a data set.

    Raises:
        InputError: It is of another kind, incomplete or malformed.
    """
    kind = (_lines(folder / TYPE) or ["classification"])[0].strip().lower()
    if kind not in ("classification", "multilabel"):
        raise InputError(
            f"{folder}: expected a data set of type classification or multilabel, got "
            f"{shortened(kind)!r} in {TYPE}; use another data set"
        )
    suffix = "npy" if kind == "multilabel" else "cls"
    images: list[Member] = []
    truth: list[Any] = []
    for path in _tar_files(folder / SPLIT):
        for image, label in _pairs(path, suffix):
            images.append(image)
            truth.append(_parse(label, suffix))
    if not images:
        raise InputError(f"{folder / SPLIT}: no images in its tar files; download them again")
    names, templates = _lines(folder / NAMES), _lines(folder / TEMPLATES)
    return Shards(
        Images(images),
        truth,
        distinct(names) if names else None,
        tuple(line.replace("{c}", "{}") for line in templates) if templates else None,
    )


def _lines(path: Path) -> list[str] | None:
    """Return the lines of a text file that are not empty, or None if it does not exist."""
    try:
        text = label_files.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({shortened(str(error), 100)}); save it as UTF-8"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _tar_files(folder: Path) -> list[Path]:
    """Return the tar files of a split, as many as `nshards.txt` says."""
    lines = _lines(folder / SHARDS)
    if lines is None:
        found = sorted(folder.glob("*.tar"), key=lambda path: (len(path.name), path.name))
        return found
    if len(lines) != 1 or not lines[0].isdecimal() or len(lines[0]) > DIGITS:
        raise InputError(
            f"{folder / SHARDS}: expected the number of tar files, got "
            f"{shortened(repr(lines), 80)}; correct it"
        )
    paths = []
    for number in range(int(lines[0])):
        paths.append(folder / f"{number}.tar")
        if not paths[-1].is_file():
            raise InputError(
                f"{folder}: expected {lines[0]} tar files as {SHARDS} says, got no "
                f"{paths[-1].name}; download it"
            )
    return paths


def members(path: Path) -> dict[str, dict[str, Member]]:
    """Return the files of each sample of a WebDataset file, by name and by suffix.

    Raises InputError for a file that is not a readable tar file.
    """
    samples: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                found = NAME.fullmatch(info.name) if info.isreg() and not info.issparse() else None
                if found:
                    member = Member(path, info.name, info.offset_data, info.size)
                    samples.setdefault(found[1], {})[found[2].lower()] = member
    except (tarfile.TarError, OSError) as error:
        raise InputError(
            f"{path}: not a readable tar file ({shortened(str(error), 100)}); unpack it if it is "
            "compressed, or download it again"
        ) from error
    return samples


def _pairs(path: Path, suffix: str) -> Iterator[tuple[Member, Member]]:
    """Yield the image and the label of each sample of a tar file."""
    for key, files in members(path).items():
        image = next((files[each] for each in IMAGES if each in files), None)
        label = files.get(suffix)
        if image is None or label is None:
            raise InputError(
                f"{path}: expected an image (.{', .'.join(IMAGES)}) and a .{suffix} file for "
                f"{shortened(key)!r}, got .{shortened(', .'.join(sorted(files)))}; correct the file"
            )
        yield image, label


def _parse(label: Member, suffix: str) -> Any:
    """Return the class number or name in a .cls file, or the numbers in a .npy file."""
    problem = f"{label.path}: {label.name}"
    if label.size > MAX_LABEL:
        raise InputError(
            f"{problem}: expected a label of at most {MAX_LABEL} bytes, got {label.size}; "
            "correct the file"
        )
    try:
        content = label.read()
        if suffix == "npy":
            return np.flatnonzero(np.load(io.BytesIO(content), allow_pickle=False)).tolist()
        text = content.decode().strip()
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{problem}: cannot be read ({shortened(str(error), 100)}); correct it"
        ) from error
    if not text:
        raise InputError(f"{problem}: expected a class number, got an empty file; correct it")
    if not text.isdecimal():
        return text
    if len(text) > DIGITS:
        raise InputError(
            f"{problem}: expected a class number of at most {DIGITS} digits, got {len(text)} "
            "digits; correct it"
        )
    return int(text)
