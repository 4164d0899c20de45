"""The tables of docs/scale.md follow from its measured rates, and its recipes run or compile."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scale.md").read_text("utf-8")
BLOCKS = re.findall(r"^```py\n(.*?)^```", PAGE, re.M | re.S)
PHOTOS = ROOT / "examples" / "photos"
IMAGES = (1e6, 1e8, 1e9)
SECONDS = {"s": 1, "min": 60, "h": 3600, "days": 86400}


def table(name: str) -> list[list[str]]:
    """Return the rows of a marked table without its header."""
    text = PAGE.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n")[3:-1]
    ]


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize("row", table("time"), ids=lambda row: row[0])
def test_times_follow_from_the_rates(row: list[str]) -> None:
    rate = number(row[1])

    for images, cell in zip(IMAGES, row[2:], strict=True):
        value, unit = cell.split()
        assert float(value) * SECONDS[unit] == pytest.approx(images / rate, rel=0.09)


@pytest.mark.parametrize(
    ("row", "rate"), list(zip(table("hours"), (44.6 / 2, 2.5 / 2, 1656, 2584), strict=True))
)
def test_machine_hours_follow_from_the_rates(row: list[str], rate: float) -> None:
    for images, cell in zip(IMAGES, row[1:], strict=True):
        assert number(cell) == pytest.approx(images / rate / 3600, rel=0.03)


@pytest.mark.parametrize(("rate", "factor"), [(44.6, 32), (44.6, 512), (2.5, 512), (1656, 8)])
def test_computed_rates_are_multiples_of_measured_ones(rate: float, factor: int) -> None:
    rates = [number(row[1]) for row in table("time")]

    assert any(each == pytest.approx(rate * factor, rel=1e-3) for each in rates)


def test_rates_are_those_of_the_benchmark() -> None:
    results = (ROOT / "benchmarks" / "results.md").read_text("utf-8")

    assert re.search(
        r"\| T12 \| files to top 5 of 1000 labels, zeroshot stream.*\| 44\.6 vs", results
    )
    assert re.search(r"\| T5 \| ViT-L/14 images/s, zeroshot bfloat16.*\| 2\.5 vs", results)
    (rate,) = re.findall(r"\| .*images on the GPU already, one H200 \| ([\d,]+) \|", PAGE)
    cuda = (ROOT / "benchmarks" / "results-cuda.md").read_text("utf-8")
    assert re.search(rf"\| G1 \| ViT-B/32, 256 images on the device .*\| {rate} vs", cuda)


@pytest.mark.parametrize("block", BLOCKS)
def test_python_of_the_page_compiles(block: str) -> None:
    compile(block, "docs/scale.md", "exec")


def test_function_for_spark_labels_arrow_batches() -> None:
    (code,) = [block for block in BLOCKS if "def label(batches)" in block]
    names: dict[str, Any] = {}
    exec(code.replace('"ViT-B/32"', '"mini"'), names)
    cat = (PHOTOS / "cat.jpg").read_bytes()
    batches = [
        pa.record_batch({"path": ["a"], "content": [cat]}),
        pa.record_batch({"path": ["b"], "content": [b"broken"]}),
    ]

    rows = pa.Table.from_batches(names["label"](batches), names["SCHEMA"]).to_pylist()

    assert [(row["source"], row["label"]) for row in rows] == [("a", "cat"), ("b", None)]


def test_recipe_for_daft_labels_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("daft", reason="requires Daft, which the dev extra does not install")
    from pyarrow import parquet

    (code,) = [block for block in BLOCKS if "import daft" in block]
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in PHOTOS.glob("*.jpg"):
        (photos / path.name).write_bytes(path.read_bytes())
    (photos / "broken.jpg").write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(code.replace("ViT-B/32", "mini").replace("=4", "=1"), "utf-8")
    monkeypatch.setattr(sys, "argv", [str(script)])

    exec(compile(script.read_text("utf-8"), str(script), "exec"), {"__name__": "__main__"})

    rows = parquet.read_table(tmp_path / "labels").to_pylist()
    assert len(rows) == len({row["path"] for row in rows}) == 9
    assert sum(row["error_kind"] == "not_image" for row in rows) == 1
