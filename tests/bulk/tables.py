"""Write folders of `zeroshot label` with pyarrow, without labeling images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from zeroshot.bulk.sinks.parquet import WRITING

DIM = 8
LABELS = {"cat": ["cat"], "dog": ["dog"], "bird": ["bird"]}
WORD = pa.dictionary(pa.int32(), pa.string())


def unit_rows(number: int, dim: int = DIM, seed: int = 0) -> NDArray[np.float32]:
    """Draw embeddings of unit length: float32 [number, dim]."""
    rows = np.random.default_rng(seed).standard_normal((number, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def make_schema(dim: int | None = DIM, metadata: dict[str, Any] | None = None) -> pa.Schema:
    """Return the schema of a part, with one kept column."""
    fields = [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("label", WORD),
        ("probability", pa.float32()),
        ("labels", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("hash", pa.binary(16)),
        ("duplicate_of", pa.int64()),
        ("error_kind", WORD),
        ("error", pa.string()),
    ]
    if dim is not None:
        fields.append(("embedding", pa.list_(pa.float16(), dim)))
    fields.append(("album", pa.string()))
    return pa.schema(fields, metadata={"zeroshot.labels/1": json.dumps(metadata or {})})


def make_part(
    rows: NDArray[np.float32], source: int, first: int, bad: int, schema: pa.Schema
) -> pa.Table:
    """Return a part; every `bad`-th row is the error of a truncated file."""
    values: list[dict[str, Any]] = []
    for place, row in enumerate(rows, first):
        fine = (place + 1) % bad != 0
        label = list(LABELS)[place % len(LABELS)]
        facts: dict[str, Any] = {
            "row": source << 40 | place,
            "source": f"photos/{source}/{place:06}.jpg",
            "label": label if fine else None,
            "probability": 0.5 if fine else None,
            "labels": [label] if fine else None,
            "probabilities": [0.5] if fine else None,
            "width": 640 if fine else None,
            "height": 480 if fine else None,
            "bytes": 1000 + place,
            "hash": place.to_bytes(16, "big"),
            "duplicate_of": source << 40 | place - 1 if fine and place % 7 == 6 else None,
            "error_kind": None if fine else "truncated",
            "error": None if fine else f"{place}.jpg: truncated file",
            "embedding": (row if fine else 0 * row).astype(np.float16),
            "album": "summer" if place % 2 else None,
        }
        values.append(facts)
    arrays = [pa.array([facts[field.name] for facts in values], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_table(
    folder: Path,
    *,
    parts: tuple[int, ...] = (10, 10, 4),
    sources: int = 2,
    dim: int | None = DIM,
    bad: int = 5,
    identity: str = "fake",
    model: str = "mini",
    **changes: Any,
) -> NDArray[np.float32]:
    """Write a complete folder: each source has these parts. Return all embeddings."""
    rows = unit_rows(sources * sum(parts), dim or DIM).astype(np.float16).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    run: dict[str, Any] = {
        "version": "0.1.0",
        "model": model,
        "identity": identity,
        "dtype": "float32",
        "prompts": "plain",
        "templates": ["{}"],
        "labels": LABELS,
        "top": 5,
        "format": "parquet",
        "embeddings": dim is not None,
        "dim": dim,
        "scores": "top",
        "part_rows": max(*parts, 1),
        "kept": ["album"],
        "kept_types": ["string"],
        "rows": [sum(parts)] * sources,
        "sources": [
            {"kind": "list", "name": f"photos/{u}", "rows": sum(parts)} for u in range(sources)
        ],
        "inputs": [None] * sources,
        "skipped": {},
        "working_folder": str(folder.parent),
        "fingerprint": {"identity": identity, "labels": LABELS, "top": 5},
        **changes,
    }
    place = 0
    for source in range(sources):
        first = 0
        for chunk, number in enumerate(parts):
            last = chunk == len(parts) - 1
            names = ("model", "identity", "labels", "top", "prompts", "templates", "fingerprint")
            facts = {name: run[name] for name in names} | {"source": source, "chunk": chunk}
            schema = make_schema(dim, facts | {"last": last})
            table = make_part(rows[place : place + number], source, first, bad, schema)
            file = folder / f"part-{source:05}-{chunk:06}.parquet"
            parquet.write_table(table, file, **WRITING)
            first, place = first + number, place + number
    total = sources * sum(parts)
    done = {"rows": total, "errors": {}, "duplicates": 0, "seconds": 2.0}
    done |= {"images_per_second": total / 2, "skipped": {}}
    (folder / "_run.json").write_text(json.dumps(run), "utf-8")
    (folder / "_SUCCESS.json").write_text(json.dumps(done), "utf-8")
    return rows
