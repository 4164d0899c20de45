"""The Labeler travels to workers, and gives the rows of `zeroshot.label`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

import zeroshot
from tests.support import run_python
from zeroshot.bulk.items import Item
from zeroshot.bulk.labeling import RowOptions, label_items
from zeroshot.errors import HeadMismatch, HeadNotFound, InputError, LabelError, PromptError
from zeroshot.integrations import Labeler

PHOTOS = sorted((Path(__file__).parents[2] / "examples" / "photos").glob("*.jpg"))
LABELS = ["cat", "dog", "boat"]
EQUAL = ("label", "labels", "width", "height", "bytes", "hash", "error_kind", "error")


@pytest.fixture(scope="module")
def head() -> zeroshot.Head:
    return zeroshot.load("mini").head(LABELS)


@pytest.fixture(scope="module")
def batch() -> pa.Table:
    images = [path.read_bytes() for path in PHOTOS]
    images += [b"", b"broken", images[0][:5000], None]
    names = [path.name for path in PHOTOS] + ["empty", "broken", "truncated", "null"]
    return pa.table({"bytes": images, "path": names})


def test_rows_equal_those_of_a_run_on_one_machine(head: zeroshot.Head, batch: pa.Table) -> None:
    labeler = Labeler(head=head, model="mini", top=2, embeddings=True, scores="all", threads=1)
    classifier = zeroshot.load("mini").classifier(head)
    items = [
        (place, Item(row["path"], lambda row=row: row["bytes"]))
        for place, row in enumerate(batch.to_pylist()[:-1])
    ]

    found = labeler(batch).to_pylist()
    rows = list(label_items(classifier, items, RowOptions(2, embeddings=True, scores=True)))

    for one, row in zip(found[:-1], rows, strict=True):
        expected = {name: getattr(row, name) for name in EQUAL}
        expected["labels"] = None if row.labels is None else list(row.labels)
        assert {name: one[name] for name in EQUAL} == expected
        assert one["source"] == row.source
        if row.embedding is not None:
            assert one["probability"] == pytest.approx(row.probability, abs=5e-3)
            assert one["embedding"] == pytest.approx(row.embedding.tolist(), abs=5e-3)
            assert one["scores"] == pytest.approx(row.scores.tolist(), abs=5e-3)
    assert found[-1]["error"] == "expected the bytes of an image, got null"


def test_rows_equal_those_of_zeroshot_label(
    head: zeroshot.Head, batch: pa.Table, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    files = batch.filter(batch["bytes"].is_valid()).to_pylist()
    for number, row in enumerate(files):
        (folder / f"{number:02}.jpg").write_bytes(row["bytes"])
    paths = sorted(map(str, folder.iterdir()))
    table = pa.table({"bytes": [Path(path).read_bytes() for path in paths], "path": paths})

    zeroshot.label(folder, tmp_path / "out", head=head, model="mini", format="parquet")
    expected = parquet.read_table(tmp_path / "out")
    found = Labeler(head=head, model="mini", threads=1)(table)

    names = ["source", *EQUAL]
    assert found.select(names).to_pylist() == expected.select(names).to_pylist()
    assert found["probability"].to_pylist() == pytest.approx(
        expected["probability"].to_pylist(), abs=5e-3
    )
    assert found.select(expected.column_names).schema.types == expected.schema.types


def test_no_image_raises(batch: pa.Table) -> None:
    found = Labeler(LABELS, model="mini")(batch).to_pylist()

    assert [row["error_kind"] for row in found[len(PHOTOS) :]] == [
        "not_image",
        "not_image",
        "truncated",
        "bad_type",
    ]
    assert all(row["label"] for row in found[: len(PHOTOS)])


def test_paths_and_missing_files() -> None:
    table = pa.table({"file": [str(PHOTOS[0]), "/missing.jpg"]})

    found = Labeler(LABELS, model="mini", column="file")(table).to_pylist()

    assert found[0]["source"] == str(PHOTOS[0])
    assert found[0]["bytes"] == PHOTOS[0].stat().st_size
    assert found[1]["error_kind"] == "not_found"


def test_pickled_labeler_works_in_another_process_and_leaves_the_threads_of_the_caller_alone(
    head: zeroshot.Head, batch: pa.Table, tmp_path: Path
) -> None:
    path = tmp_path / "labeler.pickle"
    labeler = Labeler(head=head, model="mini", threads=1)
    first = labeler(batch.slice(0, 2))
    path.write_bytes(pickle.dumps(labeler))
    code = f"""
import pickle, sys, threading
labeler = pickle.load(open({str(path)!r}, "rb"))
assert not {{"torch", "ray", "daft"}} & set(sys.modules)
before = threading.active_count()
table = labeler({{"bytes": [open({str(PHOTOS[0])!r}, "rb").read()]}})
from zeroshot.engine.cpu.workers import is_worker
print(table["label"].to_pylist(), is_worker(), threading.active_count() - before)
"""

    assert run_python(code) == f"{first['label'].to_pylist()[:1]} False 1\n"
    assert path.stat().st_size < 20_000  # the head is in it, the model is not


def test_labeler_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps(Labeler(LABELS, model="mini"))
    monkeypatch.setattr(zeroshot, "__version__", "9.9")

    with pytest.raises(InputError, match="install the same version on every node"):
        pickle.loads(content)


def test_importing_and_making_a_labeler_imports_no_engine() -> None:
    code = """
import sys
from zeroshot.integrations import Labeler
Labeler(["cat", "dog"], model="mini")
print(sorted({"torch", "pyarrow", "ray", "daft", "pyspark"} & set(sys.modules)))
"""

    assert run_python(code) == "[]\n"


def test_head_comes_as_object_path_or_bytes(head: zeroshot.Head, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    head.save(path)
    table = pa.table({"bytes": [PHOTOS[0].read_bytes()]})
    heads: list[Any] = [head, path, str(path), path.read_bytes()]

    found = [Labeler(head=each, model="mini")(table)["label"][0].as_py() for each in heads]
    found += [Labeler(head, model="mini")(table)["label"][0].as_py()]

    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({}, InputError, "expected labels or a head, got neither"),
        ({"labels": ["a"], "head": b""}, InputError, "got both"),
        ({"labels": "cat"}, LabelError, "cat"),
        ({"head": b"broken"}, HeadMismatch, "got 6 other bytes"),
        ({"head": "/missing"}, HeadNotFound, "no such head file"),
        ({"labels": ["a", "b"], "prompts": "{} {}"}, PromptError, "template"),
        ({"labels": ["a", "b"], "model": 5}, InputError, "expected the name or path of a model"),
        ({"labels": ["a", "b"], "column": []}, InputError, "expected column"),
        ({"labels": ["a", "b"], "threads": 0}, InputError, "threads"),
        ({"labels": ["a", "b"], "top": 0}, InputError, "top"),
        ({"labels": ["a", "b"], "scores": "some"}, InputError, "scores"),
    ],
)
def test_wrong_arguments_are_found_in_the_driver(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        Labeler(**arguments)
    assert len(str(caught.value)) < 600


def test_loaded_model_is_no_argument(tiny: zeroshot.Model) -> None:
    with pytest.raises(InputError, match="each worker loads its own"):
        Labeler(LABELS, model=tiny)  # type: ignore[arg-type]
