"""Measure new labels for a table of stored embeddings (target B9), and a search in it.

    python benchmarks/relabel.py [--quick] [--work FOLDER]

The embeddings are random: the time does not depend on their values. The table is written once to
the work folder, 1.0 GB for a million rows of 512 dimensions. The time includes reading and writing;
the head is made of random rows, because the time to embed labels is that of `Model.head`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from zeroshot import __version__
from zeroshot.bulk.finding import search
from zeroshot.bulk.merging import merge
from zeroshot.bulk.output import Output
from zeroshot.bulk.relabeling import relabel
from zeroshot.bulk.sinks.parquet import WRITING
from zeroshot.head import Head
from zeroshot.machine import cores, processor

DIM, IDENTITY = 512, "random"
FULL = {"rows": 1_000_000, "part": 32_768, "labels": (3, 1_000)}
QUICK = {"rows": 5_000, "part": 2_048, "labels": (3, 50)}
BAD = 100  # every BAD-th image has an error
WORD = pa.dictionary(pa.int32(), pa.string())


def make_table(first: int, number: int, random: np.random.Generator) -> pa.Table:
    """Return a part in the columns of `zeroshot label`."""
    places = np.arange(first, first + number)
    bad = places % BAD == BAD - 1
    rows = random.standard_normal((number, DIM), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[bad] = 0
    label = pa.array([None if each else "cat" for each in bad], pa.string())
    one = pa.array(np.where(bad, np.nan, 1.0).astype(np.float32), from_pandas=True)
    offsets = pa.array(np.concatenate([[0], np.cumsum(~bad)]), pa.int32())
    lists = [pa.ListArray.from_arrays(offsets, column.drop_null()) for column in (label, one)]
    mask = pa.array(bad)
    size = pa.array(np.full(number, 500), pa.int32(), mask=bad)
    kind = pa.array(["truncated" if each else None for each in bad], pa.string())
    columns: dict[str, Any] = {
        "row": pa.array(places),
        "source": pa.array([f"photos/{place // 1000:04}/{place:08}.jpg" for place in places]),
        "label": label.dictionary_encode().cast(WORD),
        "probability": one,
        "labels": pa.ListArray.from_arrays(offsets, lists[0].values, mask=mask),
        "probabilities": pa.ListArray.from_arrays(offsets, lists[1].values, mask=mask),
        "width": size,
        "height": size,
        "bytes": pa.array(places),
        "hash": pa.array([int(place).to_bytes(16, "big") for place in places], pa.binary(16)),
        "duplicate_of": pa.nulls(number, pa.int64()),
        "error_kind": kind.dictionary_encode().cast(WORD),
        "error": kind,
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(rows.astype(np.float16).ravel()), DIM
        ),
    }
    return pa.table(columns).replace_schema_metadata({"zeroshot.labels/1": '{"last": false}'})


def write_folder(folder: Path, rows: int, part: int) -> None:
    """Write the table, unless the folder has it."""
    if (folder / "_SUCCESS.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for chunk, first in enumerate(range(0, rows, part)):
        table = make_table(first, min(part, rows - first), random)
        file = folder / f"part-00000-{chunk:06}.parquet"
        parquet.write_table(table, file, **WRITING)
    run = {
        "version": __version__,
        "model": IDENTITY,
        "identity": IDENTITY,
        "dtype": "float32",
        "prompts": "plain",
        "templates": ["{}"],
        "labels": {"cat": ["cat"]},
        "top": 5,
        "format": "parquet",
        "embeddings": True,
        "dim": DIM,
        "scores": "top",
        "part_rows": part,
        "kept": [],
        "kept_types": [],
        "rows": [rows],
        "sources": [{"kind": "list", "name": "photos"}],
        "inputs": [None],
        "skipped": {},
        "working_folder": "",
        "limit": None,
        "fingerprint": {},
    }
    (folder / "_run.json").write_text(json.dumps(run), "utf-8")
    (folder / "_SUCCESS.json").write_text("{}", "utf-8")


def make_head(labels: int) -> Head:
    """Return a head of random rows."""
    names = tuple(f"label {number}" for number in range(labels))
    weight = torch.randn(labels, DIM, generator=torch.Generator().manual_seed(0))
    return Head(
        labels=names,
        weight=torch.nn.functional.normalize(weight, dim=1),
        logit_scale=100.0,
        logit_bias=None,
        model=IDENTITY,
        names=tuple((name,) for name in names),
        templates=("{}",),
        prompts="plain",
    )


def show(what: str, began: tuple[float, float], rows: int) -> None:
    """Print the time since `began`, of the clock and of all cores, and the peak memory."""
    seconds, busy = time.perf_counter() - began[0], time.process_time() - began[1]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what:<34} {seconds:7.2f} s {busy:7.2f} s CPU {rows / seconds:12,.0f} rows/s "
        f"{memory:6.0f} MiB peak",
        flush=True,
    )


def main() -> None:
    """Measure relabel, merge and find."""
    parser = argparse.ArgumentParser(description="Measure new labels for stored embeddings")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--work", type=Path, help="folder for the table; kept if it is given")
    given = parser.parse_args()
    sizes: dict[str, Any] = QUICK if given.quick else FULL
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        folder = work / f"labels-{sizes['rows']}"
        write_folder(folder, sizes["rows"], sizes["part"])
        print(f"{processor()}, {cores()} cores, torch with {torch.get_num_threads()} threads")
        for labels in sizes["labels"]:
            out = work / "relabeled"
            began = time.perf_counter(), time.process_time()
            relabel(folder, out, head=make_head(labels), progress=False)
            show(f"relabel, {labels:,} labels", began, sizes["rows"])
            shutil.rmtree(out)
        query = torch.nn.functional.normalize(torch.ones(DIM), dim=0)
        began = time.perf_counter(), time.process_time()
        search(Output.open(folder), query, 20, duplicates=False, progress=False)
        show("find", began, sizes["rows"])
        file = work / "merged.csv"
        began = time.perf_counter(), time.process_time()
        merge(folder, file, progress=False)
        show("merge to CSV", began, sizes["rows"])
        file.unlink()


if __name__ == "__main__":
    main()
