"""Join the parts of a table to one file: `merge()`."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from zeroshot.arguments import file_path, flag
from zeroshot.bulk.fingerprint import describe_part
from zeroshot.bulk.folder import commit
from zeroshot.bulk.output import Output, Part
from zeroshot.bulk.rows import FORMAT, VALUES, restore_row
from zeroshot.bulk.sinks import SINKS, get_sink
from zeroshot.bulk.sinks.csv import LARGEST
from zeroshot.bulk.sinks.parquet import WRITING, import_pyarrow, make_schema
from zeroshot.bulk.stored import check_gaps, read_part
from zeroshot.errors import InputError, short_errors, shortened
from zeroshot.progress import Bar, track

HEADER = {"source", "label", "probability", "error_kind", "row"}  # columns of our CSV files
CHUNK = 1 << 20  # bytes


@short_errors
def merge(
    folder: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    allow_gaps: bool = False,
    embeddings: bool = True,
    progress: bool | None = None,
) -> int:
    """Join the parts of a table to one Parquet, CSV or JSON Lines file.

    The file appears when it is complete. One part is in memory at a time.

    Args:
        folder: Folder of `zeroshot.label`.
        file: File to write: .parquet, .csv or .jsonl, in another folder. A file from an earlier
            call is replaced.
        allow_gaps: Accept a table with missing parts.
        embeddings: Copy the embeddings to a Parquet or JSON Lines file. CSV has none.
        progress: Show a progress bar. None shows one on a terminal if the work takes longer than
            two seconds.

    Returns:
        The number of rows.

    Raises:
        InputError: Parts are missing or damaged, the suffix is unknown, the file is inside the
            folder, or it exists and `merge` did not write it.
        MissingPackage: Parquet is read or written, and pyarrow is not installed.
        SaveError: The file cannot be written.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> zeroshot.bulk.merge("pets", "pets.csv")
        1
    """
    output, target = Output.open(folder), file_path(file)
    form = target.suffix.lower().removeprefix(".")
    if form not in SINKS:
        raise InputError(
            f"file={shortened(str(target), 300)!r} must end with .parquet, .csv or .jsonl"
        )
    if "parquet" in (form, output.run["format"]):
        import_pyarrow()
    _check_target(target, form, output.folder)
    check_gaps(output, flag("allow_gaps", allow_gaps))
    joiner = _Joiner(output, form, with_embeddings=flag("embeddings", embeddings))
    commit(target, partial(joiner.write, Bar("row", None, progress)))
    return joiner.rows


def _check_target(target: Path, form: str, folder: Path) -> None:
    if target.resolve().parent == folder.resolve():
        raise InputError(
            f"file={shortened(str(target), 300)!r} is inside the folder of the table, where other "
            "programs would read its rows twice; choose another folder"
        )
    if target.is_dir() or (target.exists() and not _is_ours(target, form)):
        raise InputError(
            f"file={shortened(str(target), 300)!r} exists, and is not a table that zeroshot wrote; "
            "choose another name, or delete it"
        )


def _is_ours(file: Path, form: str) -> bool:
    """Return whether `merge` wrote a file; true for an empty one."""
    if file.is_file() and not file.stat().st_size:
        return True
    with suppress(OSError, ValueError, csv.Error):
        if form == "parquet":
            from pyarrow import parquet

            return FORMAT.encode() in (parquet.read_schema(file).metadata or {})
        with file.open(encoding="utf-8", newline="") as stream:
            if form == "csv":
                return set(next(csv.reader(stream))) >= HEADER
            row = json.loads(stream.readline(LARGEST))
            return isinstance(row, dict) and row.keys() >= {"source", "ranking", "error_kind"}
    return False


class _Joiner:
    """Writes the parts of a table to one file, and counts the rows."""

    def __init__(self, output: Output, form: str, *, with_embeddings: bool) -> None:
        self.rows = 0
        self._output, self._form = output, form
        self._columns = output.columns
        if output.run["format"] == "csv":  # it has text only, and no arrays
            self._columns = replace(self._columns, dim=None, has_scores=False, kept_types=())
        self._drops = not with_embeddings and self._columns.dim is not None
        if self._drops:
            self._columns = replace(self._columns, dim=None)
        self._copies = output.run["format"] == form and (form == "csv" or not self._drops)

    def write(self, bar: Bar, file: Path) -> None:
        """Write all parts to a file."""
        write = self._write_parquet if self._form == "parquet" else self._write_text
        parts = self._output.parts()
        with TemporaryDirectory(prefix="zeroshot-merge-") as folder:
            for rows in track(write(parts, file, Path(folder)), bar, count=int):
                self.rows += rows

    def _write_parquet(self, parts: Iterable[Part], file: Path, folder: Path) -> Iterator[int]:
        """Write each part as a row group; yield its number of rows."""
        from pyarrow import parquet

        facts = describe_part(self._output.run, 0, 0, last=True)
        for name in ("source", "chunk", "last"):
            del facts[name]
        schema = make_schema(self._columns, facts)
        with file.open("wb") as stream, parquet.ParquetWriter(stream, schema, **WRITING) as writer:
            for part in parts:
                table = read_part(self._in_format(part, folder))
                if self._drops and "embedding" in table.column_names:
                    table = table.drop_columns(["embedding"])
                try:
                    writer.write_table(table.cast(schema))
                except ValueError as error:
                    raise InputError(
                        f"{shortened(str(part.path), 200)}: the columns differ from those of the "
                        f"table ({shortened(str(error), 200)}); delete this part, and run "
                        "`zeroshot label` again to replace it"
                    ) from error
                yield table.num_rows

    def _write_text(self, parts: Iterable[Part], file: Path, folder: Path) -> Iterator[int]:
        """Append the text of each part; yield its number of rows."""
        header: bytes | None = None
        with file.open("wb") as target:
            if self._form == "csv":  # a table without parts has a header too
                empty = folder / "empty.csv"
                get_sink("csv").write([], self._columns, {}, empty)
                header = empty.read_bytes()
                target.write(header)
            for part in parts:
                piece = self._in_format(part, folder)
                with piece.open("rb") as source:
                    if header is not None and source.read(len(header)) != header:
                        raise InputError(
                            f"{shortened(str(part.path), 200)}: expected the columns of the table "
                            "in the first line; delete this part, and run `zeroshot label` again "
                            "to replace it"
                        )
                    shutil.copyfileobj(source, target, CHUNK)
                yield _count_text(piece, self._form)

    def _in_format(self, part: Part, folder: Path) -> Path:
        """Return a file with the rows of a part in the format of the merged file."""
        if self._copies or (self._form == "parquet" == self._output.run["format"]):
            return part.path
        columns = self._columns
        arrays = {"scores": columns.has_scores, "embedding": columns.dim is not None}
        names = [name for name in VALUES if arrays.get(name, True)]
        if self._form == "csv":
            names = [name for name in VALUES if name not in arrays]
        read = self._output.sink.read(part.path, [*names, *columns.kept])
        rows = [restore_row(facts, columns) for facts in read]
        piece = folder / f"piece.{self._form}"
        get_sink(self._form).write(rows, columns, {}, piece)
        return piece


def _count_text(file: Path, form: str) -> int:
    """Return the number of rows of a CSV or JSON Lines file."""
    if form == "csv":  # a field may contain line breaks
        csv.field_size_limit(LARGEST)
        with file.open(encoding="utf-8", newline="") as stream:
            return sum(1 for _ in csv.reader(stream)) - 1
    with file.open("rb") as binary:
        return sum(chunk.count(b"\n") for chunk in iter(partial(binary.read, CHUNK), b""))
