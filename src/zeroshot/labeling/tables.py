"""Read tables of image paths and labels: CSV, TSV, JSON, JSON Lines and Parquet."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from zeroshot import label_files
from zeroshot.errors import InputError, MissingPackage, shortened

if TYPE_CHECKING:
    from zeroshot.images import Sample

PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "url"),
    *("image", "image_path", "image_file", "img", "img_path"),
)
LABEL = (
    *("label", "class", "class_name", "classname", "class_id", "label_id", "label_name"),
    *("truth", "target", "category", "wnid"),
)
LABELS = ("labels", "classes", "tags")  # several labels per image
SEPARATORS = (";", "|")  # between the labels of a cell
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Table:
    """Images and the truth of each."""

    images: Sequence[str | Sample]
    truth: Sequence[Any]
    labels: Mapping[str, Sequence[str]] | None = None  # that the file names, in order


@dataclass(frozen=True)
class Columns:
    """The columns of a table that contain paths and labels."""

    path: str
    label: str

    @property
    def is_list(self) -> bool:
        """Whether each image has a list of labels."""
        return self.label.strip().lower() in LABELS


def read(path: Path) -> Table:
    """Read a table; relative paths in it are relative to its folder.

    The columns are found by their names: PATHS, and LABEL or LABELS.

    Raises:
        InputError: The file is of another kind or malformed, or columns are missing or ambiguous.
        MissingPackage: A .parquet file requires pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: expected a folder, or a file that ends in {', '.join(SUFFIXES)}, got "
            f"{suffix or 'no suffix'!r}; rename or convert it"
        )
    if suffix == ".parquet":
        return _read_parquet(path)
    try:
        header, rows = parse(label_files.decode(path.read_bytes()), suffix)
        if not rows:
            raise InputError("expected a row per image, got none; add rows below a header")
        columns = find_columns(header)
        images = [locate(row.get(columns.path), path.parent, n) for n, row in enumerate(rows, 1)]
        truth = [_truth_of(row.get(columns.label), columns, n) for n, row in enumerate(rows, 1)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, RecursionError, csv.Error) as error:
        problem = shortened(str(error), 200)
        raise InputError(f"{path}: malformed {suffix[1:]} ({problem}); correct it") from error
    return Table(images, _unify(truth))


def parse(text: str, suffix: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of the columns, and each row by column.

    Raises InputError, ValueError, RecursionError or csv.Error for malformed text.
    """
    if suffix in (".csv", ".tsv"):
        cells = label_files.read_rows(text, "\t" if suffix == ".tsv" else ",")
        header = cells[0] if cells else []
        return header, [dict(zip(header, row, strict=True)) for row in cells[1:]]
    if suffix == ".json":
        rows = json.loads(text)
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("expected a JSON object for each image, got other values; correct it")
    return list(dict.fromkeys(key for row in rows for key in row)), rows


def find_columns(header: Sequence[str]) -> Columns:
    """Find the columns with paths and labels. Raises InputError if missing or ambiguous."""
    return Columns(
        choose(header, PATHS, "paths", "path"),
        choose(header, LABEL + LABELS, "labels", "label"),
    )


def choose(header: Sequence[str], names: Sequence[str], what: str, example: str) -> str:
    """Return the only column that has one of the names. Raises InputError for none or several."""
    found = [name for name in header if name.strip().lower() in names]
    if len(found) != 1:
        problem = f"got {len(found)}: {', '.join(found)}" if found else "got none"
        raise InputError(
            f"expected one column with {what}, {shortened(problem, 120)} of the columns "
            f"{shortened(', '.join(map(str, header)), 150)}; name one {example!r} and no other so"
        )
    return found[0]


def locate(value: Any, folder: Path, number: int) -> str:
    """Return the path or URL in row `number`; a relative path is one below `folder`.

    Raises InputError for another value.
    """
    if not isinstance(value, str) or not value:
        raise InputError(
            f"row {number}: expected a path, got {shortened(repr(value))}; add it or remove the row"
        )
    return value if "://" in value else os.path.join(folder, value)


def _truth_of(value: Any, columns: Columns, number: int) -> Any:
    """Return a label or column number, or a list of them."""
    if isinstance(value, list):
        return value
    if columns.is_list:
        return _split(value, number)
    if value is None or value == "" or isinstance(value, bool | float | dict):
        raise InputError(
            f"row {number}: expected a label in the column {columns.label!r}, got "
            f"{shortened(repr(value))}; add it, write 'none of these', or remove the row"
        )
    return value


def _split(value: Any, number: int) -> list[Any]:
    """Return the labels of a cell: a JSON list, or separated by ; or |."""
    if value is None:
        return []
    if not isinstance(value, str):
        raise InputError(
            f"row {number}: expected a list of labels, got {shortened(repr(value))}; separate "
            "labels by ; or use a column 'label'"
        )
    if value.startswith("["):
        listed = json.loads(value)
        return list(listed)
    separator = next((each for each in SEPARATORS if each in value), SEPARATORS[0])
    return [part.strip() for part in value.split(separator) if part.strip()]


def _unify(truth: list[Any]) -> list[Any]:
    """Make all entries lists if one is, so that single labels in a list column are allowed."""
    if any(isinstance(each, list) for each in truth):
        return [each if isinstance(each, list) else [each] for each in truth]
    return truth


# Parquet


def _read_parquet(path: Path) -> Table:
    """Read paths or encoded images, and labels, as the Hub's data sets store them."""
    try:
        from pyarrow import types
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingPackage(
            f"{path}: reading Parquet requires pyarrow, which is not installed; run: pip install "
            "'zeroshot-clip[parquet]', or export the table to .csv"
        ) from error
    try:
        file = ParquetFile(path)
        schema = file.schema_arrow
        columns = find_columns(schema.names)
        values = file.read([columns.label]).column(0).to_pylist()
        if types.is_struct(schema.field(columns.path).type):
            images: Sequence[Any] = _Encoded(path, columns.path, len(values))
        else:
            cells = file.read([columns.path]).column(0).to_pylist()
            images = [locate(cell, path.parent, n) for n, cell in enumerate(cells, 1)]
        truth = [_truth_of(value, columns, n) for n, value in enumerate(values, 1)]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses
        problem = shortened(str(error), 200)
        raise InputError(f"{path}: malformed Parquet ({problem}); export it again") from error
    if not values:
        raise InputError(f"{path}: expected a row per image, got none; use another file")
    return Table(images, _unify(truth), _class_names(schema.metadata, columns.label))


def _class_names(metadata: Any, column: str) -> dict[str, list[str]] | None:
    """Return the labels of a column of numbers, as the `datasets` library stores them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = (features[column].get("feature") or features[column])["names"]
        return distinct(list(map(str, names)))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def distinct(names: Sequence[str]) -> dict[str, list[str]]:
    """Return labels with their text; a name that occurs again gets a number in its label."""
    labels: dict[str, list[str]] = {}
    for name in names:
        label, number = name, 2
        while label in labels:
            label, number = f"{name} ({number})", number + 1
        labels[label] = [name]
    return labels


class _Encoded(Sequence["Sample"]):
    """The images of a Parquet column of structs with `bytes` and `path`, a row group at a time."""

    def __init__(self, path: Path, column: str, size: int) -> None:
        self._path, self._column, self._size = path, column, size
        self._group: tuple[int, list[Any]] | None = None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Sample]:
        return (self[row] for row in range(self._size))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        from zeroshot.images import Sample

        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(self._size))]
        if not 0 <= index < self._size:
            raise IndexError(index)
        value = self._read(index) or {}
        key = f"{self._path}#{index}"
        inside = value.get("path")
        if inside:
            key = f"{key} {inside}"
        return Sample(key, value.get("bytes") or str(self._path.parent / str(inside)))

    def _read(self, row: int) -> Any:
        from pyarrow.parquet import ParquetFile

        if self._group is None or not 0 <= row - self._group[0] < len(self._group[1]):
            file = ParquetFile(self._path)
            start = 0
            for number in range(file.num_row_groups):
                size = file.metadata.row_group(number).num_rows
                if row < start + size:
                    rows = file.read_row_group(number, [self._column]).column(0).to_pylist()
                    self._group = start, rows
                    break
                start += size
        assert self._group is not None
        return self._group[1][row - self._group[0]]
