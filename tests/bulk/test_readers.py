"""Other programs read a folder of parts: all rows, types, embeddings and errors."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bulk import tables

PAGE = Path(__file__).parents[2] / "docs" / "label-tables.md"
FAILED = [24 * source + n for source in range(2) for n in range(24) if (n + 1) % 5 == 0]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float32]:
    """Write the folder `photos`, whose last part has errors only; return the embeddings."""
    rows = tables.write_table(tmp_path / "photos", parts=(10, 10, 4))
    only_errors = tables.write_table(tmp_path / "errors", parts=(2,), sources=1, bad=1)
    last = tmp_path / "photos" / "part-00002-000000.parquet"
    last.write_bytes((tmp_path / "errors" / "part-00000-000000.parquet").read_bytes())
    monkeypatch.chdir(tmp_path)
    rows[FAILED] = 0
    return np.concatenate([rows, 0 * only_errors])


def run_block(reader: str) -> dict[str, Any]:
    """Run what the documentation shows for a reader, and return its names."""
    text = PAGE.read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(rf"^```python reader={reader}\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, str(PAGE), "exec"), names)
    assert names
    return names


def test_pandas(rows: NDArray[np.float32]) -> None:
    pandas = pytest.importorskip("pandas")

    table = pandas.read_parquet("photos", dtype_backend="pyarrow")

    assert len(table) == 50
    assert str(table["width"].dtype) == "int32[pyarrow]"
    assert table["error_kind"].value_counts()["truncated"] == 10
    assert table["label"].value_counts()["cat"] == 14
    plain = pandas.read_parquet("photos", columns=["embedding"])["embedding"]
    assert np.stack(plain).dtype == np.float16
    assert np.array_equal(np.stack(plain).astype(np.float32), rows)


def test_pyarrow(rows: NDArray[np.float32]) -> None:
    from pyarrow import compute, dataset, parquet

    table = parquet.read_table("photos")

    assert table.num_rows == 50
    values = table.column("embedding").combine_chunks().flatten().to_numpy()
    assert np.array_equal(values.reshape(50, -1).astype(np.float32), rows)
    fine = dataset.dataset("photos", format="parquet").to_table(
        filter=compute.field("error_kind").is_null()
    )
    assert fine.num_rows == 40
    assert fine.column("labels")[0].as_py() == ["cat"]


def test_polars(rows: NDArray[np.float32]) -> None:
    polars = pytest.importorskip("polars")

    names = run_block("polars")

    table = polars.read_parquet("photos/*.parquet")
    assert table.shape == (50, 15)
    assert dict(names["counts"].iter_rows()) == {"cat": 14, "dog": 12, "bird": 14, None: 10}
    assert np.array_equal(names["rows"].astype(np.float32), rows)


def test_duckdb(rows: NDArray[np.float32]) -> None:
    duckdb = pytest.importorskip("duckdb")

    names = run_block("duckdb")

    assert dict(names["counts"]) == {"cat": 14, "dog": 12, "bird": 14, None: 10}
    assert len(names["failed"]) == 10
    found = duckdb.sql("SELECT embedding FROM 'photos/*.parquet' ORDER BY row, source").fetchall()
    assert np.array_equal(np.array([row for (row,) in found], dtype=np.float32).shape, rows.shape)


def test_datasets(rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("cache"))
        names = run_block("datasets")

    assert len(names["table"]) == 50
    assert names["table"][0]["label"] == "cat"
    assert names["table"][4]["label"] is None
    assert names["table"].features["embedding"].feature.dtype == "float16"
    assert np.array_equal(np.asarray(names["rows"]).astype(np.float32), rows)
