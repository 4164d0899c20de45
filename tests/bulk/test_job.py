"""`zeroshot.label` and its arguments."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from tests.bulk.support import contents, make_classifier, save_images
from tests.support import photograph
from zeroshot.bulk.output import Output
from zeroshot.errors import ArgumentError, InputError, LabelError

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402


@pytest.fixture
def images(tmp_path: Path) -> Path:
    save_images(tmp_path / "images", 3)
    return tmp_path / "images"


def test_a_folder_is_labeled_with_a_model(
    photos: list[Path], tiny: zeroshot.Model, tmp_path: Path
) -> None:
    (photos[0].parent / "notes.txt").write_text("no image")
    options: dict[str, Any] = {"labels": ["cat", "dog"], "model": tiny, "embeddings": True}

    summary = zeroshot.label(photos[0].parent, tmp_path / "out", **options)

    assert (summary.rows, summary.errors, summary.skipped) == (7, {}, {".txt": 1})
    found = list(Output.open(tmp_path / "out").rows())
    expected = zeroshot.classify(photos, ["cat", "dog"], model=tiny)
    assert [row["label"] for row in found] == [each.label for each in expected]
    assert (found[0]["width"], found[0]["height"]) == (40, 50)
    assert zeroshot.label(photos[0].parent, tmp_path / "out", **options).computed == 0


def test_a_head_replaces_labels_and_prompts(
    photos: list[Path], tiny: zeroshot.Model, tmp_path: Path
) -> None:
    head = tiny.head({"cat": ["cat", "kitten"], "dog": ["dog"]}, "photo")
    head.save(tmp_path / "pets.safetensors")
    tables = []
    for number, options in enumerate(
        [{"labels": head}, {"head": head}, {"head": tmp_path / "pets.safetensors"}]
    ):
        zeroshot.label([str(p) for p in photos], tmp_path / f"{number}", model=tiny, **options)  # type: ignore[arg-type]
        output = Output.open(tmp_path / f"{number}")
        assert output.run["labels"] == {"cat": ["cat", "kitten"], "dog": ["dog"]}
        tables.append([row["probabilities"] for row in output.rows()])
    assert tables[0] == tables[1]

    with pytest.raises(InputError, match="expected no prompts with a head"):
        zeroshot.label(photos, tmp_path / "out", head=head, prompts="photo")


def test_any_iterable_of_images_is_labeled(tmp_path: Path) -> None:
    pictures = [photograph(seed=seed) for seed in range(3)]

    summary = zeroshot.label(
        (picture for picture in pictures), tmp_path / "out", classifier=make_classifier()
    )

    assert summary.rows == 3
    rows = list(Output.open(tmp_path / "out").rows())
    assert [(row["width"], row["bytes"], row["hash"]) for row in rows] == [(61, None, None)] * 3


def test_lists_archives_and_tables_make_one_table_that_continues(
    images: Path, tmp_path: Path
) -> None:
    content = {path.name: path.read_bytes() for path in sorted(images.iterdir())}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        for path in sorted(images.iterdir()):
            tar.add(path, path.name)
    table = pa.table({"image": list(content.values()), "id": list(range(3))})
    pq.write_table(table, tmp_path / "c.parquet")
    inputs = [images, tmp_path / "a.zip", tmp_path / "b.tar.gz", tmp_path / "c.parquet"]
    options: dict[str, Any] = {"keep": "id", "part_rows": 2, "progress": False}

    zeroshot.label(inputs, tmp_path / "out", classifier=make_classifier(), **options)

    output = Output.open(tmp_path / "out")
    rows = list(output.rows())
    assert [row["label"] for row in rows] == ["red", "green", "blue"] * 4
    assert [source["kind"] for source in output.run["sources"]] == ["list", "zip", "tar", "parquet"]
    assert [row["id"] is not None for row in rows] == [False] * 9 + [True] * 3
    assert len({row["hash"] for row in rows}) == 3
    before = contents(tmp_path / "out")
    for name in list(before)[1::2]:
        (tmp_path / "out" / name).unlink()
    zeroshot.label(inputs, tmp_path / "out", classifier=make_classifier(), **options)
    assert contents(tmp_path / "out") == before


def test_a_dry_run_describes_the_inputs_and_writes_nothing(images: Path, tmp_path: Path) -> None:
    summary = zeroshot.label(images, tmp_path / "out", labels=["a", "b"], dry_run=True)

    (plan,) = summary.plan
    assert (plan["kind"], plan["rows"], plan["columns"]) == ("list", 3, [])
    assert plan["bytes"] > 0
    assert not summary.is_complete
    assert not (tmp_path / "out").exists()


def test_kept_columns_of_a_parquet_file_keep_their_types(images: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(images.iterdir())[:2]]
    kept = {"id": pa.array([7, None], pa.int32()), "share": [0.5, 1.0], "tags": [["a"], []]}
    pq.write_table(pa.table({"path": paths, **kept}), tmp_path / "a.parquet")

    zeroshot.label(
        tmp_path / "a.parquet", tmp_path / "out", classifier=make_classifier(), keep="id,share,tags"
    )

    found = pq.read_table(next((tmp_path / "out").glob("part-*"))).select([*kept])
    assert list(map(str, found.schema.types)) == ["int32", "double", "string"]
    assert found.to_pylist()[0] == {"id": 7, "share": 0.5, "tags": '["a"]'}


def test_kept_columns_are_copied_with_their_types(images: Path, tmp_path: Path) -> None:
    table = images / "table.jsonl"
    table.write_text(
        '{"path": "00000.png", "id": 7, "row": "x"}\n{"path": "00001.png", "id": 8, "row": null}\n'
    )

    zeroshot.label(table, tmp_path / "out", classifier=make_classifier(), keep="id,row")

    output = Output.open(tmp_path / "out")
    assert output.columns.kept == ("id", "in_row")
    assert [(row["id"], row["in_row"]) for row in output.rows()] == [(7, "x"), (8, None)]


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_kept_columns_with_any_names_and_values_are_copied(
    form: str, images: Path, tmp_path: Path
) -> None:
    names = ["label", "in_label", "label_2", "probability_7", "error", "big", "half"]
    lines = [
        {"path": "00000.png", **dict.fromkeys(names, "x\r"), "in_label": "y", "big": 2**70},
        {"path": "00001.png", **dict.fromkeys(names, ""), "half": {"a": ["\ud800"]}},
    ]
    table = images / "table.jsonl"
    table.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    for _ in range(2):
        assert zeroshot.label(
            table, tmp_path / "out", classifier=make_classifier(), keep=names, format=form
        ).is_complete

    first, second = Output.open(tmp_path / "out").rows()
    kept = ["in_in_label", "in_label", "in_label_2", "in_probability_7", "in_error", "big", "half"]
    assert list(first)[-len(kept) :] == kept
    assert (first["in_in_label"], first["in_label"], first["in_label_2"]) == ("x\r", "y", "x\r")
    assert str(first["big"]) == str(2**70)
    assert "\\ud800" in str(second["half"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected one of labels, head and classifier, got none"),
        ({"labels": ["a", "b"], "head": "x"}, "got labels and head"),
        ({"classifier": "x"}, "expected classifier to be a Classifier"),
        ({"labels": ["a"], "top": 0}, "top=0"),
        ({"labels": ["a"], "part_rows": 0}, "part_rows=0"),
        ({"labels": ["a"], "limit": 0}, "limit=0"),
        ({"labels": ["a"], "format": "arrow"}, "format='arrow'"),
        ({"labels": ["a"], "scores": "some"}, "scores='some'"),
        ({"labels": ["a"], "format": "csv", "embeddings": True}, "cannot store embeddings"),
        ({"labels": ["a"], "shard": "3/2"}, "from 1 to N"),
        ({"labels": ["a"], "shard": "1/2", "limit": 3}, "either limit or shard"),
        ({"labels": ["a"], "max_errors": "5 %"}, "max_errors"),
        ({"labels": ["a"], "keep": ["x", "x"]}, "keep"),
        ({"labels": ["a"], "dedupe": 1}, "dedupe=1"),
        ({"labels": ["a"], "workers": -1}, "workers=-1"),
    ],
)
def test_an_invalid_argument_is_refused_before_a_model_is_loaded(
    options: dict[str, Any], message: str, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        zeroshot.label(images, tmp_path / "out", model="./missing.pt", **options)

    assert len(str(caught.value)) < 600
    assert not (tmp_path / "out").exists()


def test_invalid_labels_and_unknown_arguments_are_typed_errors(
    images: Path, tmp_path: Path
) -> None:
    with pytest.raises(LabelError):
        zeroshot.label(images, tmp_path / "out", labels="cat")
    with pytest.raises((ArgumentError, TypeError)):
        zeroshot.label(images, tmp_path / "out", labels=["a"], device="cpu")  # type: ignore[call-arg]


def test_scores_of_too_many_labels_are_refused(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroshot.bulk.options.MOST_SCORES", 2)

    with pytest.raises(InputError, match="at most 2 labels, got 3"):
        zeroshot.label(images, tmp_path / "out", classifier=make_classifier(), scores="all")


def test_a_run_that_was_killed_while_it_was_described_continues(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroshot.bulk.folder.CLAIM_SECONDS", 0.1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_run.json").touch()

    assert zeroshot.label(images, tmp_path / "out", classifier=make_classifier()).is_complete


def test_a_moved_table_continues(images: Path, tmp_path: Path) -> None:
    zeroshot.label(images, tmp_path / "a", classifier=make_classifier())
    shutil.move(tmp_path / "a", tmp_path / "b")

    assert zeroshot.label(images, tmp_path / "b", classifier=make_classifier()).computed == 0
