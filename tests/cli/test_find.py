"""`zeroshot find`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_images_are_listed_by_similarity(table: Path, run: Any) -> None:
    result = run("find", table, "a cat", "--top", 3)

    assert result.exit_code == 0, result.output
    lines = [line.split("  ") for line in result.stdout.splitlines()]
    assert len(lines) == 3
    assert [float(similarity) for similarity, _ in lines] == sorted(
        (float(similarity) for similarity, _ in lines), reverse=True
    )
    assert {source for _, source in lines} <= {f"photos/{n}.png" for n in range(7)}


def test_the_image_itself_is_the_most_similar_one(table: Path, run: Any) -> None:
    result = run("find", table, "--image", "photos/4.png", "--json")

    best = json.loads(result.stdout.splitlines()[0])
    assert best["source"] == "photos/4.png"
    assert best["similarity"] == pytest.approx(1, abs=0.002)


def test_less_similar_images_are_left_out(table: Path, run: Any) -> None:
    result = run("find", table, "--image", "photos/4.png", "--min-similarity", "0.9999")

    assert len(result.stdout.splitlines()) <= 2


def test_a_sheet_is_written(table: Path, run: Any) -> None:
    result = run("find", table, "a cat", "--sheet", "cats.html")

    assert result.exit_code == 0, result.output
    assert "photos/0.png" in Path("cats.html").read_text("utf-8")
    assert result.stderr == "cats.html: 7 images\n"


@pytest.mark.parametrize("words", [[], ["a cat", "--image", "photos/1.png"]])
def test_a_text_or_an_image_is_required(words: list[str], table: Path, run: Any) -> None:
    result = run("find", table, *words)

    assert result.exit_code == 2
    assert "expected either TEXT or --image" in result.stderr


def test_a_table_without_embeddings_is_an_error_that_names_the_option(
    table: Path, run: Any
) -> None:
    assert run("label", "photos", "--out", "plain", "--labels", "cat,dog").exit_code == 0

    result = run("find", "plain", "a cat")

    assert result.exit_code == 2
    assert "label the images again with --embeddings" in result.stderr


def test_a_missing_image_has_exit_code_3(table: Path, run: Any) -> None:
    assert run("find", table, "--image", "missing.png").exit_code == 3


def test_missing_parts_are_named_on_stderr(table: Path, run: Any) -> None:
    assert run("find", table, "a cat").stderr == ""
    (table / "part-00000-000001.parquet").unlink()

    result = run("find", table, "a cat")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 5
    assert "1 part of the table missing" in result.stderr
    assert "run the same `zeroshot label` command again" in result.stderr
    assert run("find", table, "a cat", "--quiet").stderr == ""


def test_a_table_without_images_is_named_on_stderr(table: Path, run: Any) -> None:
    for photo in Path("photos").iterdir():
        photo.write_bytes(b"garbage")
    words = ("--labels", "cat,dog", "--embeddings")
    assert run("label", "photos", "--out", "damaged", *words).exit_code == 3

    result = run("find", "damaged", "a cat")

    assert result.stdout == ""
    assert "the table has no images to search" in result.stderr
