"""Write parts as JSON Lines: the object of `Prediction.to_dict()` with the other columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zeroshot.bulk.rows import Columns, Row, printable
from zeroshot.bulk.sinks.values import to_plain
from zeroshot.errors import InputError, shortened

ROW_BYTES = 600  # of a row without embeddings, about
DIGITS = 9  # of a probability: enough for float32
ARRAYS = ("scores", "embedding")


def write(rows: Sequence[Row], columns: Columns, metadata: Mapping[str, Any], file: Path) -> None:
    """Write rows to a file. JSON Lines have no place for metadata."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode
    with file.open("w", encoding="utf-8", newline="") as stream:
        for row in rows:
            stream.write(f"{encode(_make_object(row, columns))}\n")


def _make_object(row: Row, columns: Columns) -> dict[str, Any]:
    facts: dict[str, Any] = {"row": row.row, "source": printable(row.source), "label": row.label}
    facts["probability"] = _round(row.probability)
    facts["ranking"] = None
    if row.labels is not None and row.probabilities is not None:
        facts["ranking"] = [
            {"label": label, "probability": _round(probability)}
            for label, probability in zip(row.labels, row.probabilities, strict=True)
        ]
    facts |= {"width": row.width, "height": row.height, "bytes": row.bytes}
    facts["hash"] = None if row.hash is None else row.hash.hex()
    facts |= {"duplicate_of": row.duplicate_of, "error_kind": row.error_kind, "error": row.error}
    if columns.has_scores:
        facts["scores"] = _listed(row.scores, len(columns.labels))
    if columns.dim is not None:
        facts["embedding"] = _listed(row.embedding, columns.dim)
    for name, value in zip(columns.kept, row.kept, strict=True):
        facts[name] = to_plain(value)
    return facts


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _listed(values: Any, width: int) -> list[float]:
    return [0.0] * width if values is None else [float(f"{v:.5g}") for v in values.tolist()]


def read(file: Path, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file. Raises InputError for another file."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield _read_object(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{shortened(str(file), 300)}: line {number} is not a row of a run "
                    f"({shortened(repr(error), 100)}); delete the file and run the command again, "
                    "which computes this part"
                ) from error


def _read_object(facts: dict[str, Any]) -> dict[str, Any]:
    ranking = facts.pop("ranking")
    labels = None if ranking is None else [each["label"] for each in ranking]
    values = None if ranking is None else [each["probability"] for each in ranking]
    digest = facts["hash"]
    row = {name: facts[name] for name in ("row", "source", "label", "probability")}
    row |= {"labels": labels, "probabilities": values}
    row |= facts | {"hash": None if digest is None else bytes.fromhex(digest)}
    for name in ARRAYS:
        if isinstance(row.get(name), list):
            row[name] = np.asarray(row[name], dtype=np.float16)
    return row
