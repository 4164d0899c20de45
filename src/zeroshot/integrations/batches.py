"""Read images from the batches of a data engine, and turn rows into Arrow tables.

A batch is an Arrow table, or a mapping from the names of columns to numpy arrays or lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroshot.errors import InputError, MissingPackage, shortened, some

if TYPE_CHECKING:
    import pyarrow as pa

    from zeroshot.bulk.rows import Columns, Row

NAMES = ("path", "url", "uri", "source", "file_name", "filename", "image_path", "__url__")
KEY = "__key__"  # of a sample of WebDataset, within its archive
READABLE = ["is_binary", "is_large_binary", "is_string", "is_large_string", "is_null"]
READABLE += ["is_binary_view", "is_string_view"]
PREFIX = "in_"  # of a column of the input whose name is taken
DECODED = (
    "column {name!r} contains decoded pixels ({kind}), expected the bytes of image files. Decoding "
    "before labeling loses the EXIF orientation and the file, and stops at the first broken image; "
    "read files with ray.data.read_binary_files(..., include_paths=True) in place of read_images, "
    "and archives with read_webdataset(..., decoder=None)"
)


@dataclass(frozen=True)
class Batch:
    """The images of a batch, and what goes into the output unchanged."""

    names: list[str]
    images: list[bytes | str | None]
    numbers: list[int] | None  # the column `row`
    kept: pa.Table


def require_pyarrow() -> Any:
    """Return the pyarrow module; raise MissingPackage if it is not installed."""
    try:
        import pyarrow
    except ImportError as error:
        raise MissingPackage(
            f"a Labeler requires pyarrow, which is not installed ({shortened(str(error), 200)}); "
            "run: pip install 'zeroshot-clip[parquet]', or 'zeroshot-clip[ray]' for Ray"
        ) from error
    return pyarrow


def read_batch(batch: Any, columns: Sequence[str], name: str | None) -> Batch:
    """Return the images of `columns` with their names, and the other columns.

    Raises InputError if there is no such column, or if it contains decoded pixels.
    """
    table = to_table(batch)
    found = check_columns(table.schema, columns)
    values = [_to_values(table.column(each)) for each in found]
    chosen = [_choose(each) for each in zip(*values, strict=True)]
    images = [values[place][row][0] for row, place in enumerate(chosen)]
    paths = [values[place][row][1] for row, place in enumerate(chosen)]
    suffixes = [found[place] for place in chosen]
    kept = table.drop_columns(found)
    numbers = None
    if "row" in kept.column_names and _is_integer(kept.schema.field("row").type):
        numbers = kept.column("row").to_pylist()
        kept = kept.drop_columns(["row"])
    return Batch(_get_names(table, name, images, paths, suffixes), images, numbers, kept)


def write_batch(rows: Sequence[Row], columns: Columns, batch: Batch) -> pa.Table:
    """Return the rows as a table with the columns of `zeroshot.label`, and those that are kept."""
    pa = require_pyarrow()
    from zeroshot.bulk.sinks.parquet import make_schema

    schema = make_schema(columns, {}).remove_metadata()
    arrays = [_to_array(pa, [getattr(row, f.name) for row in rows], f.type) for f in schema]
    arrays[0] = pa.nulls(len(rows), pa.int64())  # a batch has no place in the whole data set
    if batch.numbers is not None:
        arrays[0] = pa.array(batch.numbers, pa.int64())
    fields = [field.with_nullable(True) for field in schema]
    taken = {field.name for field in fields}
    for field in batch.kept.schema:
        name = field.name
        while name in taken:
            name = PREFIX + name
        taken.add(name)
        fields.append(field.with_name(name))
        arrays.append(batch.kept.column(field.name))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def to_table(batch: Any) -> pa.Table:
    """Return a batch as an Arrow table. Raises InputError for other values."""
    pa = require_pyarrow()
    if isinstance(batch, pa.Table):
        return batch
    if isinstance(batch, pa.RecordBatch):
        return pa.Table.from_batches([batch])
    if not isinstance(batch, Mapping):
        raise InputError(
            f"expected an Arrow table or a mapping from column names to values, got "
            f"{type(batch).__name__} {shortened(repr(batch))}; use batch_format='pyarrow'"
        )
    arrays = {}
    for name, values in batch.items():
        kind = getattr(values, "dtype", None)
        if kind is not None and kind.kind == "S":
            raise InputError(
                f"column {name!r} is a numpy array of {kind}, which drops zeros at the end of a "
                "file; pass dtype=object, or use batch_format='pyarrow'"
            )
        shape = getattr(values, "shape", (0,))
        first = next((each for each in values if each is not None), None)
        if len(shape) > 2 or (isinstance(first, np.ndarray) and first.ndim > 1):
            raise InputError(DECODED.format(name=name, kind=f"shape {(first.shape)}"))  # type: ignore[union-attr]
        try:
            arrays[name] = pa.array(values if len(shape) == 1 else values.tolist())
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"cannot convert column {name!r} to Arrow ({shortened(str(error), 200)}); "
                "expected values of one type, drop the column or use batch_format='pyarrow'"
            ) from error
    return pa.table(arrays)


def check_columns(schema: Any, columns: Sequence[str]) -> list[str]:
    """Return those of `columns` that a schema has. Raises InputError if they have no files."""
    pa = require_pyarrow()
    found = [name for name in columns if name in schema.names]
    if not found:
        raise InputError(
            f"no column {some([repr(name) for name in columns])} among "
            f"{some([repr(name) for name in schema.names])}; pass column= the name of the column "
            "with the images"
        )
    for name in found:
        kind = schema.field(name).type
        inner = kind
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            inner = kind.field("bytes").type
        if any(getattr(pa.types, each, _never)(inner) for each in READABLE):
            continue
        if isinstance(kind, pa.BaseExtensionType) or pa.types.is_nested(kind):
            raise InputError(DECODED.format(name=name, kind=shortened(str(kind), 60)))
        raise InputError(
            f"column {name!r} is of type {shortened(str(kind))}, expected the bytes of image files "
            "or paths; pass column= the name of the column with the images"
        )
    return found


def _to_values(column: Any) -> list[tuple[bytes | str | None, str | None]]:
    """Return the image and the path of each value."""
    values = column.to_pylist()
    if not hasattr(column.type, "num_fields") or column.type.num_fields == 0:
        return [(value, None) for value in values]
    pairs = []
    for value in values:
        path = (value or {}).get("path")
        content = (value or {}).get("bytes")
        pairs.append((path if content is None else content, path))
    return pairs


def _choose(values: Sequence[tuple[Any, str | None]]) -> int:
    """Return the place of the first image that is not null, or 0."""
    return next((place for place, pair in enumerate(values) if pair[0] is not None), 0)


def _get_names(
    table: Any,
    name: str | None,
    images: Sequence[Any],
    paths: Sequence[str | None],
    suffixes: Sequence[str],
) -> list[str]:
    """Return a name for each image: never null, and the same for the same row."""
    pa = require_pyarrow()
    if name is not None and name not in table.column_names:
        raise InputError(
            f"no column {name!r} among {some([repr(each) for each in table.column_names])}; pass "
            "name= the name of the column with the names of the images"
        )
    texts = [
        each.name
        for each in table.schema
        if pa.types.is_string(each.type) or pa.types.is_large_string(each.type)
    ]
    column = name or next((each for each in NAMES if each in texts), None)
    outer = [None] * len(images) if column is None else table.column(column).to_pylist()
    keys = [None] * len(images)
    if name is None and KEY in texts:
        keys = table.column(KEY).to_pylist()
    members = [
        None if key is None else f"{key}.{suffix}"
        for key, suffix in zip(keys, suffixes, strict=True)
    ]
    return [
        _get_name(None if name else path, around, member, image)
        for path, around, member, image in zip(paths, outer, members, images, strict=True)
    ]


def _get_name(path: str | None, around: Any, member: str | None, image: Any) -> str:
    if path is not None:
        return path
    if member is not None:  # of an archive, named as `zeroshot.label` names it
        return member if around is None else f"{around}#{member}"
    if around is not None:
        return str(around)
    if isinstance(image, str):
        return shortened(image, 300)
    return f"blake2b:{hashlib.blake2b(image or b'', digest_size=16).hexdigest()}"


def _is_integer(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind))


def _to_array(pa: Any, values: list[Any], kind: Any) -> Any:
    """Return a column; null lists of a fixed size become zeros."""
    if pa.types.is_fixed_size_list(kind):
        rows = np.zeros((len(values), kind.list_size), np.float16)
        for place, value in enumerate(values):
            if value is not None:
                rows[place] = value
        return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def _never(_: Any) -> bool:
    """Stand in for a test of a type that an old pyarrow does not have."""
    return False
