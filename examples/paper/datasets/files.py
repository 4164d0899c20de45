"""Find and read the files of a published layout, with errors that say what is missing."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from zeroshot.errors import InputError, MissingPackage, shortened

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
    # ValueError: a number of too many digits too; RecursionError: too many brackets
    except (ValueError, RecursionError) as error:
        problem = shortened(str(error), 100)
        raise InputError(f"{place}: invalid JSON ({problem}); download it again") from error


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


def class_column(value: int | str, path: Path, limit: int, *, start: int = 0) -> int:
    """Return a class number as a column: within 0..limit - 1, where numbers begin at `start`."""
    try:
        column = int(str(value)) - start  # of numbers, only integers: 1.5 is an error
    except ValueError:
        column = -1
    if not 0 <= column < limit:
        raise InputError(
            f"{path}: expected a class number within {start}..{start + limit - 1}, got "
            f"{shortened(repr(value))}; download it again"
        )
    return column


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by name, without hidden files."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGES and not path.name.startswith(".")
    )


def inside(base: Path, relative: str) -> Path:
    """Return the path of a listed image. Raises InputError if it leaves the folder."""
    listed = PurePosixPath(relative)
    if ".." in listed.parts or listed.is_absolute():
        raise InputError(
            f"expected a path inside {base}, got {shortened(repr(relative))}; download the list "
            "again"
        )
    return base.joinpath(*listed.parts)


def package(module: str, title: str, what: str) -> Any:
    """Import a module of the extra `examples`. Raises MissingPackage; `what` requires it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{what} requires {title}; run: {EXTRA}") from error
