"""Find and read the files of a published layout, with errors that say what is missing."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

from zeroshot import Sample
from zeroshot.errors import InputError, MissingPackage, shortened, some

SPLITS = ("train", "test")
EXTRA = "pip install 'zeroshot-clip[examples]'"


class MissingFile(InputError):
    """A folder does not contain a file of the published layout.

    Attribute: `missing`, what was not found, as text.
    """

    def __init__(self, message: str, *, missing: str) -> None:
        super().__init__(message)
        self.missing = missing


def find(folder: Path, *names: str) -> Path:
    """Return the first of several relative paths that exists in a folder.

    Raises MissingFile if there is none of them.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    missing = " or ".join(names)
    raise MissingFile(f"no {missing} in {folder}; check the folder", missing=missing)


def root(folder: Path, name: str) -> Path:
    """Return the folder with a name: the folder itself, or the one in it."""
    return folder if folder.name == name or not (folder / name).is_dir() else folder / name


def check_split(split: str, splits: Sequence[str] = SPLITS) -> None:
    """Raise InputError for a split that a data set does not have."""
    if split not in splits:
        raise InputError(
            f"expected a split among {', '.join(splits)}, got {shortened(repr(split))}; the data "
            "set publishes no other"
        )


def lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file that are not blank, without outer white space."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as text ({shortened(str(error), 100)}); download it again"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def rows(path: Path, fields: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table with a header. Raises InputError if it lacks a field."""
    listed = list(csv.DictReader(lines(path), delimiter=delimiter))
    header = list(listed[0]) if listed else []
    if absent := [field for field in fields if field not in header]:
        raise InputError(
            f"{path}: expected a table with the columns {', '.join(fields)}, got no "
            f"{', '.join(absent)}; download it again"
        )
    return listed


def number(text: str, path: Path, limit: int, *, start: int = 0) -> int:
    """Return a class number as a column: within 0..limit - 1, where numbers begin at `start`."""
    try:
        column = int(text) - start
    except ValueError:
        column = -1
    if not 0 <= column < limit:
        raise InputError(
            f"{path}: expected a class number within {start}..{start + limit - 1}, got "
            f"{shortened(repr(text))}; download it again"
        )
    return column


def images_in(folder: Path, *suffixes: str) -> list[Path]:
    """Return the images of a folder, sorted by name, without hidden files."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def mat(path: Path, *names: str) -> list[Any]:
    """Return variables of a MATLAB file of version 5, squeezed; its content is never executed.

    Raises MissingPackage without SciPy, and InputError for another file.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingPackage(f"{path.name} requires SciPy; run: {EXTRA}") from error
    try:
        content = loadmat(path, squeeze_me=True, variable_names=names)
    except (OSError, ValueError, TypeError, NotImplementedError, EOFError) as error:
        raise InputError(
            f"{path}: expected a MATLAB file of version 5 ({shortened(str(error), 100)}); "
            "download it again"
        ) from error
    if absent := [name for name in names if name not in content]:
        raise InputError(
            f"{path}: expected the variables {', '.join(names)}, got no {some(absent)}; "
            "download it again"
        )
    return [content[name] for name in names]


class Lazy(Sequence[Sample]):
    """Images in one file, each decoded when it is indexed.

    Args:
        keys: The name of each image.
        decode: Returns the image at a position: uint8 [h, w, 3] or [h, w].
    """

    def __init__(self, keys: Sequence[str], decode: Callable[[int], Any]) -> None:
        self._keys = keys
        self._decode = decode

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        return Sample(self._keys[position], self._decode(position))
