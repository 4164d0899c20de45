"""List images: files, folders, patterns, lists of paths, and tables with a column of paths.

A listing is made once and can be frozen to a file, so files that are added later do not move the
rows of a run that is continued.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zeroshot import label_files
from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources.reading import Options, locate, open_file, read_image
from zeroshot.errors import InputError, shortened
from zeroshot.labeling import tables
from zeroshot.labeling.sources import Skipped, read_list

FORMAT = "zeroshot.inputs/1"
LISTS = (".txt", ".lst")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
ROWS = 65_536  # of a row group


class SkippedFiles(Skipped):
    """Counts what a search in folders skipped, also by suffix."""

    def __init__(self) -> None:
        super().__init__()
        self.suffixes: Counter[str] = Counter()

    def add(self, reason: str, example: str) -> None:
        """Count one file or folder."""
        super().add(reason, example)
        self.suffixes[example if "suffix" in reason else reason] += 1


class Listing:
    """Images at paths and URLs, in a fixed order."""

    kind = "list"
    splits = True

    def __init__(
        self,
        name: str,
        names: list[str],
        kept: list[tuple[Any, ...]],
        columns: tuple[str, ...] = (),
        skipped: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.names = names  # paths and URLs
        self.kept = kept  # a row per name; empty without columns
        self.columns = columns
        self.skipped = Counter(skipped or {})  # files in folders, by suffix

    @classmethod
    def from_names(
        cls,
        names: Iterable[str],
        kept: Iterable[tuple[Any, ...]] = (),
        columns: Sequence[str] = (),
    ) -> Listing:
        """Return a listing of paths and URLs; `kept` has the values of `columns` for each."""
        names, kept = list(names), list(kept)
        if columns and len(kept) != len(names):
            raise InputError(
                f"expected the values of {len(columns)} columns for each of {len(names)} images, "
                f"got {len(kept)}; pass lists of equal length"
            )
        return cls(_join(names[:4]), names, kept if columns else [], tuple(columns))

    def facts(self) -> dict[str, Any]:
        """Return the number of images and a digest of their names and kept values."""
        digest = hashlib.blake2b(digest_size=16)
        for line in self._lines():
            digest.update(line.encode() + b"\n")
        count = len(self.names)
        return {"kind": "list", "name": self.name, "count": count, "digest": digest.hexdigest()}

    def count(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the images from a row on."""
        for place in range(first, len(self.names)):
            name = self.names[place]
            kept = self.kept[place] if self.columns else ()
            yield Item(printable(name), partial(read_image, name), kept)

    def freeze(self, path: Path, form: str) -> None:
        """Write the listing to a file, as "parquet" or "jsonl"."""
        if form == "parquet":
            self._write_parquet(path)
            return
        with path.open("w", encoding="utf-8", newline="\n") as text:
            text.write(json.dumps(self._head(), sort_keys=True) + "\n")
            text.writelines(f"{line}\n" for line in self._lines())

    @classmethod
    def thaw(cls, path: Path) -> Listing:
        """Read a listing that `freeze` wrote to a file with the suffix of its form.

        Raises InputError for another file.
        """
        try:
            if path.suffix == ".parquet":
                return cls._read_parquet(path)
            lines = path.read_text("utf-8").splitlines()
            return cls._build(json.loads(lines[0]), map(json.loads, lines[1:]))
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"{path}: not a list of inputs ({shortened(str(error), 150)}); start the run again "
                "in a new folder"
            ) from error

    @classmethod
    def _build(cls, head: dict[str, Any], rows: Iterable[Sequence[Any]]) -> Listing:
        if head.get("format") != FORMAT:
            raise ValueError(f"expected the format {FORMAT}, got {head.get('format')!r}")
        names, kept, columns = [], [], tuple(head["columns"])
        for name, *values in rows:
            names.append(name)
            if columns:
                kept.append(tuple(values))
        return cls(head["name"], names, kept, columns, head["skipped"])

    def _head(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "columns": list(self.columns),
            "skipped": dict(sorted(self.skipped.items())),
        }

    def _lines(self) -> Iterator[str]:
        """Yield each name with its kept values as JSON."""
        for place, name in enumerate(self.names):
            yield json.dumps([name, *self.kept[place]] if self.columns else [name])

    def _write_parquet(self, path: Path) -> None:
        """Write readable names, and the exact names and kept values as JSON."""
        import pyarrow as pa
        from pyarrow import parquet

        head = json.dumps(self._head(), sort_keys=True)
        schema = pa.schema(
            [("source", pa.string()), ("json", pa.string())], metadata={FORMAT: head}
        )
        # pyarrow reads a path such as "http:/a" as a URL
        with (
            path.open("wb") as stream,
            parquet.ParquetWriter(stream, schema, compression="zstd") as writer,
        ):
            lines = self._lines()
            for start in range(0, len(self.names), ROWS):
                names = [printable(name) for name in self.names[start : start + ROWS]]
                exact = [next(lines) for _ in names]
                writer.write_table(pa.table([names, exact], schema=schema))

    @classmethod
    def _read_parquet(cls, path: Path) -> Listing:
        from pyarrow import parquet

        with path.open("rb") as stream, parquet.ParquetFile(stream) as opened:
            table = opened.read(columns=["json"])
        head = json.loads((table.schema.metadata or {})[FORMAT.encode()])
        return cls._build(head, map(json.loads, table.column(0).to_pylist()))


def _join(names: Sequence[str]) -> str:
    return shortened(", ".join(map(printable, names)), 200)


def read_paths(name: str) -> list[str]:
    """Read a list with a path or URL per line; relative paths are relative to its folder.

    Lines may be separated by NUL, as `find -print0` writes them. Raises InputError.
    """
    with open_file(name) as file:
        content = file.read()
    try:
        return [locate(path, name) for path in split_paths(content)]
    except InputError as error:
        raise InputError(f"{shortened(name, 300)}: {error}") from error


def split_paths(content: bytes) -> list[str]:
    """Return the paths in a text, one per line or separated by NUL. Raises InputError."""
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    null = b"\0" in content and not is_wide
    return list(read_list(io.BytesIO(content), null=null))


def read_table(name: str, options: Options) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the paths in a table and the values of the kept columns.

    The column is found by its name unless it is given. A relative path is relative to the folder
    of the table; an empty cell stays "", which becomes an error row. Raises InputError.
    """
    suffix = os.path.splitext(name)[1].lower()
    try:
        with open_file(name) as file:
            rows = _read_rows(file.read(), suffix)
        header = next(rows)
        column = options.column or tables.choose(header, tables.PATHS, "paths", "path")
        _check_columns(header, (column, *options.keep))
        names, kept = [], []
        for number, row in enumerate(rows, 1):
            names.append(_locate(row.get(column), name, number))
            kept.append(tuple(row.get(each) for each in options.keep))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shortened(name, 300)}: not UTF-8 ({error.reason}); save it as UTF-8"
        ) from error
    except InputError as error:
        problem = str(error)
        known = problem.startswith(shortened(name, 300))
        raise InputError(problem if known else f"{shortened(name, 300)}: {problem}") from error
    except (ValueError, RecursionError, csv.Error) as error:
        problem = shortened(str(error), 200)
        raise InputError(
            f"{shortened(name, 300)}: malformed {suffix[1:]} ({problem}); correct it"
        ) from error
    return names, kept


def _locate(cell: Any, table: str, number: int) -> str:
    if cell is None or cell == "":
        return ""
    if not isinstance(cell, str):
        raise InputError(
            f"row {number}: expected a path, got {shortened(repr(cell))}; correct it or remove the "
            "row"
        )
    return locate(cell, table)


def _check_columns(header: Sequence[str], wanted: Iterable[str]) -> None:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InputError(
            f"expected the column {missing[0]!r}, got {shortened(', '.join(header), 250)}; name "
            "one of these"
        )


def _read_rows(content: bytes, suffix: str) -> Iterator[Any]:
    """Yield the names of the columns, then each row by column."""
    text = label_files.decode(content)
    if suffix in (".csv", ".tsv"):
        lines = csv.reader(
            io.StringIO(text, newline=""), delimiter="\t" if suffix == ".tsv" else ",", strict=True
        )
        header = next(lines, [])
        yield header
        for row in lines:
            if row and len(row) != len(header):
                raise InputError(
                    f"line {lines.line_num}: expected {len(header)} cells, got {len(row)}; quote "
                    "cells that contain the separator"
                )
            if row:
                yield dict(zip(header, row, strict=True))
        return
    if suffix != ".json":  # only line breaks separate rows; text may contain other separators
        text = f"[{','.join(line for line in text.split(chr(10)) if line.strip())}]"
    header, rows = tables.parse(text, ".json")
    yield header
    yield from rows
