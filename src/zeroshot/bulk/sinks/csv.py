"""Write parts as CSV: a line per image, with the labels of lower ranks in columns of their own."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zeroshot.bulk.rows import Columns, Row, printable
from zeroshot.bulk.sinks.values import to_text
from zeroshot.errors import InputError, shortened

FACTS: dict[str, Callable[[str], Any]] = {  # after the labels; how a value is read
    "error": str,
    "error_kind": str,
    "row": int,
    "width": int,
    "height": int,
    "bytes": int,
    "hash": bytes.fromhex,
    "duplicate_of": int,
}
LARGEST = 1 << 24  # characters of a field
ROW_BYTES = 250  # of a row without embeddings, about


def write(rows: Sequence[Row], columns: Columns, metadata: Mapping[str, Any], file: Path) -> None:
    """Write rows to a file. CSV has no place for metadata, embeddings and scores of all labels."""
    ranks = range(2, columns.top + 1)
    header = ["source", "label", "probability"]
    header += [name for rank in ranks for name in (f"label_{rank}", f"probability_{rank}")]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        # Python before 3.13 does not quote a carriage return, which readers take for a line break
        quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for line in _make_lines(rows, columns, [*header, *FACTS, *columns.kept]):
            has_return = any(isinstance(cell, str) and "\r" in cell for cell in line)
            (quoting if has_return else writer).writerow(line)


def _make_lines(rows: Sequence[Row], columns: Columns, header: list[str]) -> Iterator[list[Any]]:
    yield header
    for row in rows:
        yield _make_line(row, columns.top)


def _make_line(row: Row, top: int) -> list[Any]:
    line: list[Any] = [printable(row.source), row.label, _format(row.probability)]
    pairs = zip((row.labels or ())[1:], (row.probabilities or ())[1:], strict=True)
    for label, probability in pairs:
        line += [label, _format(probability)]
    line += [None] * (3 + 2 * (top - 1) - len(line))
    digest = None if row.hash is None else row.hash.hex()
    line += [row.error, row.error_kind, row.row, row.width, row.height, row.bytes, digest]
    return [*line, row.duplicate_of, *map(to_text, row.kept)]


def _format(value: float | None) -> str | None:
    return None if value is None else f"{value:.9g}"  # enough digits for float32


def read(file: Path, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file. Raises InputError for another or a damaged file."""
    try:
        yield from _read(file)
    except (ValueError, KeyError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{shortened(str(file), 300)}: damaged ({shortened(repr(error), 100)}); delete it and "
            "run the command again, which computes this part"
        ) from error


def _read(file: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(LARGEST)
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        if not {"source", "label", "probability", *FACTS} <= set(header):
            raise InputError(
                f"{shortened(str(file), 300)}: not a CSV file of a run, its first line is "
                f"{shortened(json.dumps(header), 100)}; delete it and run the command again, which "
                "computes this part"
            )
        after = header.index("error")
        kept = header[after + len(FACTS) :]
        for line in reader:
            yield _read_line(line, after, kept)


def _read_line(line: list[str], after: int, kept: list[str]) -> dict[str, Any]:
    facts = {
        name: read(text) if text else None
        for (name, read), text in zip(FACTS.items(), line[after:], strict=False)
    }
    ranking = [
        (label or None, float(probability))
        for label, probability in zip(line[1:after:2], line[2:after:2], strict=True)
        if probability
    ]
    failed = not ranking
    return {
        "row": facts["row"],
        "source": line[0],
        "label": line[1] or None,
        "probability": None if failed else ranking[0][1],
        "labels": None if failed else [label for label, _ in ranking],
        "probabilities": None if failed else [probability for _, probability in ranking],
        **{name: facts[name] for name in ("width", "height", "bytes", "hash", "duplicate_of")},
        "error_kind": facts["error_kind"],
        "error": facts["error"],
        **{name: text or None for name, text in zip(kept, line[after + len(FACTS) :], strict=True)},
    }
