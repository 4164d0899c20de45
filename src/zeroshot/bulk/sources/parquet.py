"""Read images in Parquet files and in data sets that the `datasets` library saved.

Requires pyarrow, the extra `parquet`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources.budget import Budget, Held
from zeroshot.bulk.sources.reading import (
    MAX_BYTES,
    Options,
    failed,
    failed_image,
    identify,
    is_device_error,
    locate,
    open_file,
    read_image,
    too_large,
)
from zeroshot.errors import InputError, MissingPackage, image_error, shortened
from zeroshot.labeling import tables

SUFFIXES = (".parquet", ".pq")
ROWS = 64  # read at once
BATCH_BYTES = 32 * 2**20  # read at once, if the images of a row group are large
BUFFER = 1 << 20  # bytes of a column read at once
COPIED = ("bool", "int8", "int16", "int32", "int64", "float", "double")  # kept as they are
SAVED, SPLITS = "state.json", "dataset_dict.json"  # files of a saved data set


@dataclass(frozen=True)
class Batch:
    """Some rows, or the reason why they cannot be read."""

    start: int
    rows: int
    values: list[list[Any]] | None  # a list per column
    error: Exception | None = None


class TableSource:
    """Images in the rows of a file: their bytes, paths or URLs."""

    kind = "parquet"
    splits = True

    def __init__(self, name: str, options: Options, reader: type[ParquetRows | ArrowRows]) -> None:
        self.name = name
        self.columns = options.keep
        self._facts = identify(self.kind, name)
        self._reader = reader
        with open_file(name) as file:
            rows = _open(reader, file, name)
            self._rows: int = rows.rows
            try:
                self._column = find_column(rows.schema, options.column)
                _check_columns(rows.schema, options.keep)
                self.kept_types = tuple(_kept_type(rows.schema.field(n)) for n in options.keep)
            except InputError as error:
                raise InputError(f"{shortened(name, 300)}: {error}") from error
        self._facts |= {"count": self._rows, "column": self._column}

    def facts(self) -> dict[str, Any]:
        """Return name, size, digest, number of rows and column of the images."""
        return self._facts

    def count(self) -> int:
        """Return the number of rows."""
        return self._rows

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the images from a row on; only their column and the kept ones are read."""
        if first >= self._rows:
            return
        wanted = list(dict.fromkeys((self._column, *self.columns)))
        budget = Budget()
        with open_file(self.name) as file:
            reader = _open(self._reader, file, self.name)
            for batch in reader.batches(wanted, first):
                for place in range(max(0, first - batch.start), batch.rows):
                    yield self._make(batch, place, wanted, budget)

    def _make(self, batch: Batch, place: int, wanted: Sequence[str], budget: Budget) -> Item:
        name = f"{self.name}#{batch.start + place}"
        if batch.values is None:
            problem = shortened(str(batch.error), 150)
            if batch.error is not None and is_device_error(batch.error):
                return failed(name, batch.error, (None,) * len(self.columns))
            return failed_image(
                name,
                "truncated",
                f"cannot be read from the file ({problem}); copy or download it again",
                (None,) * len(self.columns),
            )
        row = {each: batch.values[number][place] for number, each in enumerate(wanted)}
        kept = tuple(row[each] for each in self.columns)
        content, path = _split(row[self._column])
        name = path if path and isinstance(row[self._column], dict) else name
        if content is not None:
            if len(content) > MAX_BYTES:
                return failed(name, too_large(name, len(content)), kept)
            held = Held(partial(bytes, content), len(content), budget)
            return Item(printable(name), held.read, kept)
        if not path:
            problem = "expected an image, got a row without one; correct the table"
            return failed(name, image_error("bad_type", name, problem), kept)
        located = locate(path, self.name)
        return Item(printable(located), partial(read_image, located), kept)


def open_source(name: str, options: Options) -> list[TableSource]:
    """Return the images in a Parquet file. Raises InputError, MissingPackage."""
    return [TableSource(name, options, ParquetRows)]


def is_saved(folder: str) -> bool:
    """Return whether a folder is a data set that `Dataset.save_to_disk` wrote."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in (SAVED, SPLITS))


def open_saved(folder: str, options: Options) -> list[TableSource]:
    """Return the images in a saved data set, a source per file. Raises InputError."""
    try:
        if os.path.isfile(os.path.join(folder, SPLITS)):
            splits = json.loads(Path(folder, SPLITS).read_text("utf-8"))["splits"]
            parts = [open_saved(os.path.join(folder, _plain(name)), options) for name in splits]
            return [source for part in parts for source in part]
        files = json.loads(Path(folder, SAVED).read_text("utf-8"))["_data_files"]
        paths = [os.path.join(folder, _plain(each["filename"])) for each in files]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{shortened(folder, 300)}: not a saved data set ({shortened(repr(error), 150)}); save "
            "it again with Dataset.save_to_disk"
        ) from error
    return [TableSource(path, options, ArrowRows) for path in paths]


def _plain(name: str) -> str:
    """Return a file name; raise ValueError for a path, which could lead out of the folder."""
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise ValueError(f"expected a file name, got {name!r}")
    return name


def find_column(schema: Any, named: str | None) -> str:
    """Return the column with images.

    Candidates are columns of the image type of `datasets`, structs with bytes, binary columns, and
    columns of text with a usual name, in this order. Raises InputError for several or none.
    """
    if named is not None:
        _check_columns(schema, (named,))
        field = schema.field(named)
        if _is_struct(field.type) or _is_binary(field.type) or _is_text(field.type):
            return named
        raise InputError(
            f"expected images, paths or URLs in the column {named!r}, got {field.type}; name one "
            f"of {_list_columns(schema)}"
        )
    found = (
        _image_features(schema),
        [field.name for field in schema if _is_struct(field.type)],
        [field.name for field in schema if _is_binary(field.type)],
        [f.name for f in schema if _is_text(f.type) and f.name.lower() in tables.PATHS],
    )
    candidates: list[str] = next(filter(None, found), [])
    usual = [name for name in candidates if name.lower() in tables.PATHS]
    if len(candidates) == 1:
        return candidates[0]
    if len(usual) == 1:
        return usual[0]
    got = f"{len(candidates)}: {shortened(', '.join(candidates), 100)}" if candidates else "none"
    raise InputError(
        f"expected one column with images, got {got}, of the columns {_list_columns(schema)}; "
        "name it with column="
    )


def _image_features(schema: Any) -> list[str]:
    """Return the columns that `datasets` marked as images."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = [name for name, each in features.items() if each.get("_type") == "Image"]
        return [name for name in names if name in schema.names]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _is_struct(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind)) and any(
        kind.field(place).name == "bytes" for place in range(kind.num_fields)
    )


def _is_binary(kind: Any) -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view")


def _is_text(kind: Any) -> bool:
    plain = getattr(kind, "value_type", kind)  # of a dictionary
    return str(plain) in ("string", "large_string", "string_view")


def _kept_type(field: Any) -> str:
    """Return the type of a column that is copied; other values than these become text."""
    return str(field.type) if str(field.type) in COPIED else "string"


def _list_columns(schema: Any) -> str:
    return shortened(", ".join(f"{field.name} ({field.type})" for field in schema), 250)


def _check_columns(schema: Any, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise InputError(
            f"expected the column {missing[0]!r}, got {_list_columns(schema)}; name one of these"
        )


def _split(value: Any) -> tuple[bytes | None, str | None]:
    """Return the bytes and the path in a cell."""
    if isinstance(value, dict):
        path = value.get("path")
        return value.get("bytes"), path if isinstance(path, str) else None
    if isinstance(value, str):
        return None, value
    return value, None


def _open(reader: type[ParquetRows | ArrowRows], file: BinaryIO, name: str) -> Any:
    try:
        return reader(file)
    except ImportError as error:
        raise MissingPackage(
            f"{shortened(name, 200)}: reading Parquet requires pyarrow, which is not installed; "
            "run: pip install 'zeroshot-clip[parquet]'"
        ) from error
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses
        raise InputError(
            f"{shortened(name, 300)}: cannot be read ({shortened(str(error), 150)}); copy or "
            "download it again"
        ) from error


class ParquetRows:
    """The rows of a Parquet file."""

    def __init__(self, file: BinaryIO) -> None:
        from pyarrow.parquet import ParquetFile

        self._file = ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
        self.schema = self._file.schema_arrow
        self.rows: int = self._file.metadata.num_rows

    def batches(self, columns: list[str], first: int) -> Iterator[Batch]:
        """Yield batches; a row group that is damaged gives errors for its other rows."""
        start = 0
        for number in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(number).num_rows
            if first < start + rows:
                yield from self._group(number, columns, start, rows, first)
            start += rows

    def _group(
        self, number: int, columns: list[str], start: int, rows: int, first: int
    ) -> Iterator[Batch]:
        end = start + rows
        try:
            for batch in self._file.iter_batches(
                self._size(number, rows), row_groups=[number], columns=columns
            ):
                if first < start + batch.num_rows:
                    table = batch.select(columns)
                    values = [column.to_pylist() for column in table.columns]
                    yield Batch(start, batch.num_rows, values)
                start += batch.num_rows
        except (OSError, ValueError, MemoryError) as error:
            yield Batch(start, end - start, None, error)

    def _size(self, number: int, rows: int) -> int:
        """Return how many rows to read at once.

        The size is that of all columns. Asking for one of them ends the process if the metadata
        are damaged: pyarrow 26 does not catch the exception of C++.
        """
        size: int = self._file.metadata.row_group(number).total_byte_size
        return max(1, min(ROWS, BATCH_BYTES * rows // max(1, size)))


class ArrowRows:
    """The rows of an Arrow file, as the `datasets` library saves them."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow as pa

        # a memory map of the file: batches are not read before they are used
        source = pa.memory_map(file.name) if os.path.isfile(file.name) else file
        try:
            stream = pa.ipc.open_stream(source)
            self.schema, self._batches = stream.schema, list(stream)
        except pa.ArrowInvalid:  # the other kind of Arrow file
            opened = pa.ipc.open_file(source)
            self.schema = opened.schema
            self._batches = [opened.get_batch(n) for n in range(opened.num_record_batches)]
        self.rows = sum(batch.num_rows for batch in self._batches)

    def batches(self, columns: list[str], first: int) -> Iterator[Batch]:
        """Yield batches of at most 64 rows."""
        start = 0
        for batch in self._batches:
            for place in range(0, batch.num_rows, ROWS):
                rows = min(ROWS, batch.num_rows - place)
                if first < start + rows:
                    part = batch.slice(place, rows).select(columns)
                    yield Batch(start, rows, [column.to_pylist() for column in part.columns])
                start += rows
