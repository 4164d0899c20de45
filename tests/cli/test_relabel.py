"""`zeroshot relabel`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from zeroshot.bulk.output import Output


def test_new_labels_are_applied_without_the_images(table: Path, run: Any) -> None:
    for photo in Path("photos").iterdir():
        photo.unlink()

    result = run("relabel", table, "--out", "new", "--labels", "red,green,blue", "--top", 2)

    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("new: 7 rows in ")
    rows = list(Output.open("new").rows())
    assert [row["source"] for row in rows] == [f"photos/{n}.png" for n in range(7)]
    assert {len(row["labels"]) for row in rows} == {2}
    assert {row["label"] for row in rows} <= {"red", "green", "blue"}


def test_equal_labels_give_the_same_answers(table: Path, run: Any) -> None:
    assert run("relabel", table, "--out", "new", "--labels", "cat,dog").exit_code == 0

    old, new = (
        [(row["label"], row["probability"]) for row in Output.open(name).rows()]
        for name in ("table", "new")
    )
    assert [label for label, _ in old] == [label for label, _ in new]
    for (_, before), (_, after) in zip(old, new, strict=True):
        assert before == pytest.approx(after, abs=2e-3)


def test_a_head_and_options_of_the_table_work(table: Path, run: Any, tiny: zeroshot.Model) -> None:
    tiny.head(["sun", "moon"]).save("head.safetensors")
    words = ("--out", "new", "--head", "head.safetensors", "--scores", "all", "--embeddings")

    result = run("relabel", table, *words)

    assert result.exit_code == 0, result.output
    described = Output.open("new").run
    assert list(described["labels"]) == ["sun", "moon"]
    assert (described["scores"], described["embeddings"]) == ("all", True)


def test_errors_are_kept_with_exit_code_3(table_with_errors: Path, run: Any) -> None:
    result = run("relabel", table_with_errors, "--out", "new", "--labels", "red,blue")

    assert result.exit_code == 3
    kinds = [row["error_kind"] for row in Output.open("new").rows()]
    assert kinds.count("not_image") == 1
    assert json.loads(Path("new/_SUCCESS.json").read_text())["rows"] == 7


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "expected either --labels or --head"),
        (["--head", "head.safetensors", "--none"], "expected no --none with --head"),
        (["--labels", "a,b", "--top", "0"], "--top 5"),
    ],
)
def test_wrong_options_are_named(words: list[str], expected: str, table: Path, run: Any) -> None:
    result = run("relabel", table, "--out", "new", *words)

    assert result.exit_code == 2
    assert expected in result.stderr


def test_the_folder_of_the_table_is_refused(table: Path, run: Any) -> None:
    result = run("relabel", table, "--out", table, "--labels", "red,blue")

    assert result.exit_code == 2
    assert "--out table is the folder of the table" in result.stderr


def test_missing_parts_are_an_error_that_names_the_option(table: Path, run: Any) -> None:
    (table / "part-00000-000000.parquet").unlink()

    result = run("relabel", table, "--out", "new", "--labels", "red,blue")

    assert result.exit_code == 2
    assert "or pass --allow-gaps" in result.stderr


def test_the_name_of_a_file_is_refused_for_the_table(table: Path, run: Any) -> None:
    result = run("relabel", table, "--out", "labels.csv", "--labels", "a,b")

    assert result.exit_code == 2
    assert "--out labels.csv must be a folder" in result.stderr.replace("'", "")
    assert "`zeroshot merge labels labels.csv` writes one file" in result.stderr
    assert not Path("labels.csv").exists()


def test_a_relabeled_table_without_embeddings_names_the_option(table: Path, run: Any) -> None:
    assert run("relabel", table, "--out", "new", "--labels", "red,blue").exit_code == 0

    for words in (("find", "new", "a cat"), ("relabel", "new", "--out", "n", "--labels", "a,b")):
        result = run(*words)

        assert result.exit_code == 2
        assert "relabel that again with --embeddings" in result.stderr
