"""Count the rows, errors and duplicates of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from zeroshot.bulk.output import Output, Part
from zeroshot.bulk.rows import Row
from zeroshot.bulk.stored import read_part

READ = ("error_kind", "duplicate_of")


class Counts:
    """Numbers of rows, of errors by kind, and of duplicates."""

    def __init__(self) -> None:
        self.rows = self.duplicates = 0
        self.errors: Counter[str] = Counter()

    def add(self, error_kind: str | None, duplicate_of: int | None) -> None:
        """Count one row."""
        self.rows += 1
        if error_kind is not None:
            self.errors[error_kind] += 1
        if duplicate_of is not None:
            self.duplicates += 1

    def add_all(self, other: Counts) -> None:
        """Add the numbers of another part of the table."""
        self.rows += other.rows
        self.duplicates += other.duplicates
        self.errors.update(other.errors)

    def sorted_errors(self) -> dict[str, int]:
        """Return the number of errors by kind, in the order of kinds."""
        return dict(sorted(self.errors.items()))


def count_rows(rows: Sequence[Row]) -> Counts:
    """Count rows."""
    counts = Counts()
    for row in rows:
        counts.add(row.error_kind, row.duplicate_of)
    return counts


def count_part(output: Output, part: Part) -> Counts:
    """Count the rows of a part. Of a Parquet file it reads two small columns.

    Raises InputError for a part that cannot be read or lacks rows, and MissingPackage.
    """
    counts = Counts()
    if output.run["format"] == "parquet":  # ten times as fast as row by row
        table = read_part(part.path, READ)
        counts.rows = table.num_rows
        counts.duplicates = table.num_rows - table.column("duplicate_of").null_count
        found = table.column("error_kind").drop_null().value_counts().to_pylist()
        counts.errors.update({each["values"]: each["counts"] for each in found})
    else:
        for row in output.sink.read(part.path, READ):
            counts.add(row["error_kind"], row["duplicate_of"])
    output.check_rows(part, counts.rows)
    return counts


def find_failed(output: Output, most: int) -> list[str]:
    """Return the sources of the first rows with an error."""
    found: list[str] = []
    for part in output.parts():
        if output.run["format"] == "parquet":  # without values of Python for all rows
            table = read_part(part.path, ("source", "error_kind"))
            table = table.filter(table.column("error_kind").is_valid())
            found += table.column("source").slice(0, most).to_pylist()
        else:
            rows = output.sink.read(part.path, ("source", "error_kind"))
            found += [str(row["source"]) for row in rows if row["error_kind"] is not None]
        if len(found) >= most:
            break
    return found[:most]


def count_parts(output: Output, known: Mapping[tuple[int, int], Counts]) -> Counts:
    """Count the rows of the whole table; `known` contains those of parts that need no reading."""
    total = Counts()
    for part in output.parts():
        counts = known.get((part.source, part.chunk))
        total.add_all(count_part(output, part) if counts is None else counts)
    return total
