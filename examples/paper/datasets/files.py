"""Find and read the files of a published layout, with errors that say what is missing."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zeroshot.errors import (
    ImageError,
    InputError,
    MissingPackage,
    image_error,
    shortened,
    some,
)

SPLITS = ("train", "test")
IMAGES = (".jpeg", ".jpg", ".png", ".ppm")
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


def root(folder: Path, *names: str) -> Path:
    """Return the innermost folder of these nested folders of an archive, as far as they exist."""
    for name in names:
        if (folder / name).is_dir():
            folder = folder / name
    return folder


def check_split(split: str, splits: Sequence[str] = SPLITS) -> None:
    """Raise InputError for a split that a data set does not have."""
    if split not in splits:
        raise InputError(
            f"expected a split among {', '.join(splits)}, got {shortened(repr(split))}; the data "
            "set publishes no other"
        )


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 text file. Raises MissingFile, or InputError for another."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise MissingFile(
            f"no {path.name} in {path.parent}; check the folder", missing=path.name
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as text ({shortened(str(error), 100)}); download it again"
        ) from error


def lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file that are not blank, without outer white space."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises InputError for invalid JSON."""
    return _json(read_text(path), str(path))


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file. Raises InputError that names the line."""
    for position, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {position}"
        row = _json(line, place)
        if not isinstance(row, dict):
            raise InputError(
                f"{place}: expected an object, got {shortened(repr(row))}; download it again"
            )
        yield row


def _json(content: str, place: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: invalid JSON ({error}); download it again") from error


def rows(path: Path, fields: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table with a header, none without the fields that are named.

    Quotes in tab-separated files are text, as in the files of GLUE. Raises InputError.
    """
    reader = csv.DictReader(
        io.StringIO(read_text(path), newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    try:
        listed = list(reader)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; download it again") from error
    header = reader.fieldnames or ()
    if absent := [field for field in fields if field not in header]:
        raise InputError(
            f"{path}: expected the columns {', '.join(fields)}, got no {', '.join(absent)}; "
            "download it again"
        )
    for position, row in enumerate(listed, 2):
        if any(row[field] is None for field in fields):
            raise InputError(
                f"{path}, row {position}: expected {len(header)} fields, got fewer; download it "
                "again"
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


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by name, without hidden files."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGES and not path.name.startswith(".")
    )


def package(module: str, title: str, what: str) -> Any:
    """Import a module of the extra `examples`. Raises MissingPackage; `what` requires it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{what} requires {title}; run: {EXTRA}") from error


def mat(path: Path, *names: str) -> list[Any]:
    """Return variables of a MATLAB file of version 5, squeezed; its content is never executed.

    Raises MissingPackage without SciPy, and InputError for another file.
    """
    scipy = package("scipy.io", "SciPy", path.name)
    try:
        content = scipy.loadmat(path, squeeze_me=True, variable_names=names)
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


@dataclass(frozen=True)
class Picture:
    """An image that is made when it is read: numbers in a file, or a part of another image.

    zeroshot reads it like an open file, on the threads that decode images, and lists it as a
    failure under `name` if it cannot be made.

    Args:
        name: What results and errors show.
        make: Returns the image: a Pillow image, or uint8 [h, w, 3] or [h, w].
    """

    name: str
    make: Callable[[], Image.Image | NDArray[np.uint8]]

    def read(self) -> bytes:
        """Return the image as an uncompressed image file. Raises ImageError."""
        try:
            made = self.make()
        except ImageError:
            raise
        except InputError as error:
            raise image_error("decode_failed", self.name, str(error)) from error
        buffer = io.BytesIO()
        image = made if isinstance(made, Image.Image) else Image.fromarray(made)
        image.save(buffer, "PPM")
        return buffer.getvalue()
