"""Write parts as Parquet files, which pandas, polars, DuckDB and datasets read.

Embeddings are fixed-size lists of half precision without nulls: pyarrow up to 25 cannot read null
lists of a fixed size. Their values are not encoded as a dictionary, which would take most of the
time, nor split by bytes, which DuckDB cannot read for half precision.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroshot.bulk.rows import FORMAT, HASH, Columns, Row, printable
from zeroshot.bulk.sinks.values import convert_kept
from zeroshot.errors import InputError, MissingPackage, shortened

ROW_BYTES = 60  # of a row without embeddings, about
BATCH = 4096  # rows that are read at once
WRITING: dict[str, Any] = {  # options of every part
    "compression": "zstd",
    "use_dictionary": ["label", "labels.list.element", "error_kind"],
    # Not of dictionaries: with their statistics, pyarrow 17 to 25 skip parts without an error when
    # they filter rows whose error_kind is null.
    "write_statistics": ["row"],
    "version": "2.6",
    "data_page_version": "1.0",
}


def import_pyarrow() -> Any:
    """Return pyarrow, with pyarrow.parquet. Raises MissingPackage."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackage(
            f"Parquet files require pyarrow ({shortened(str(error), 200)}); "
            "run: pip install 'zeroshot-clip[parquet]', or label with format='jsonl' or 'csv'"
        ) from error
    return pa


def is_installed() -> bool:
    """Return whether Parquet files can be written."""
    try:
        import_pyarrow()
    except MissingPackage:
        return False
    return True


def make_schema(columns: Columns, metadata: Mapping[str, Any]) -> Any:
    """Return the schema of a part as pyarrow.Schema; parts of a run differ in metadata only."""
    pa = import_pyarrow()
    word = pa.dictionary(pa.int32(), pa.string())
    fields = [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("label", word),
        ("probability", pa.float32()),
        ("labels", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("hash", pa.binary(HASH)),
        ("duplicate_of", pa.int64()),
        ("error_kind", word),
        ("error", pa.string()),
    ]
    if columns.has_scores:
        fields.append(("scores", pa.list_(pa.float16(), len(columns.labels))))
    if columns.dim is not None:
        fields.append(("embedding", pa.list_(pa.float16(), columns.dim)))
    types = columns.kept_types or ("string",) * len(columns.kept)
    fields += [
        (name, pa.type_for_alias(kind)) for name, kind in zip(columns.kept, types, strict=True)
    ]
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
    return pa.schema(fields, metadata={FORMAT: text})


def write(rows: Sequence[Row], columns: Columns, metadata: Mapping[str, Any], file: Path) -> None:
    """Write rows to a file. Raises MissingPackage without pyarrow, and OSError."""
    pa = import_pyarrow()
    schema = make_schema(columns, metadata)
    arrays = [
        _make_array(pa, rows, field, columns) for field in schema if field.name not in columns.kept
    ]
    for place, name in enumerate(columns.kept):
        kind = schema.field(name).type
        values = convert_kept([row.kept[place] for row in rows], str(kind))
        arrays.append(_convert(pa, values, name, kind))
    table = pa.Table.from_arrays(arrays, schema=schema)
    with file.open("wb") as stream:
        pa.parquet.write_table(table, stream, **WRITING)


def _convert(pa: Any, values: list[Any], name: str, kind: Any) -> Any:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError) as error:
        raise InputError(
            f"cannot write the kept column {name!r} as {kind} ({shortened(str(error), 200)}); "
            "expected values of one type; omit it from keep"
        ) from error


def _make_array(pa: Any, rows: Sequence[Row], field: Any, columns: Columns) -> Any:
    name = field.name
    if name == "scores":
        return _pack(pa, [row.scores for row in rows], len(columns.labels), field.type)
    if name == "embedding":
        return _pack(pa, [row.embedding for row in rows], columns.dim or 0, field.type)
    values = [getattr(row, name) for row in rows]
    if name in ("label", "error_kind"):
        return pa.array(values, pa.string()).dictionary_encode().cast(field.type)
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:  # a file name that is not UTF-8
        return pa.array(list(map(printable, values)), field.type)


def _pack(pa: Any, values: Sequence[NDArray[np.float16] | None], width: int, kind: Any) -> Any:
    """Return fixed-size lists; None becomes zeros."""
    table = np.zeros((len(values), width), dtype=np.float16)
    for place, value in enumerate(values):
        if value is not None:
            table[place] = value
    return pa.FixedSizeListArray.from_arrays(pa.array(table.ravel()), type=kind)


def read(file: Path, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; embeddings and scores are float16 arrays.

    Raises MissingPackage without pyarrow, and InputError for a file that is no Parquet file.
    """
    pa = import_pyarrow()
    try:
        with file.open("rb") as stream, pa.parquet.ParquetFile(stream) as content:
            for batch in content.iter_batches(BATCH, columns=names and list(names)):
                columns = [_to_list(pa, batch.column(i)) for i in range(batch.num_columns)]
                found = batch.schema.names
                for values in zip(*columns, strict=True):
                    yield dict(zip(found, values, strict=True))
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are subclasses
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{shortened(str(file), 300)}: not a Parquet file of a run "
            f"({shortened(str(error).strip(), 150)}); delete it and run the command again, which "
            "computes this part"
        ) from error


def read_metadata(file: Path) -> dict[str, Any]:
    """Return the metadata of a part, {} if it has none."""
    pa = import_pyarrow()
    found = pa.parquet.read_schema(file).metadata or {}
    content: dict[str, Any] = json.loads(found.get(FORMAT.encode(), b"{}"))
    return content


def _to_list(pa: Any, column: Any) -> Any:
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), width)
    return column.to_pylist()
