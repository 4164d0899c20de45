"""Images, sentences and labels given on a command line."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result
from PIL import Image

from tests.support import encoded, json_lines, photograph
from zeroshot.cli import sources as module

LABELS = "a cat,a dog, a car"


def sources(result: Result) -> list[str]:
    return [o["source"] for o in json_lines(result)]


def test_a_folder_yields_its_images_sorted_by_name(run: Any, tmp_path: Path) -> None:
    names = ["b.JPG", "a.png", "sub/c.webp", "notes.txt", "sub/deep/d.gif", ".DS_Store"]
    for name in names:
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {".JPG": "JPEG", ".webp": "WEBP", ".gif": "GIF"}.get(Path(name).suffix, "PNG")
        (tmp_path / "p" / name).write_bytes(encoded(Image.fromarray(photograph()), kind))
    result = run("classify", tmp_path / "p", "-l", LABELS, "--json")
    wanted = ["a.png", "b.JPG", "sub/c.webp", "sub/deep/d.gif"]
    assert sources(result) == [str(tmp_path / "p" / name) for name in wanted]


def test_patterns_are_expanded_in_order(run: Any, photos: list[Path]) -> None:
    result = run("classify", photos[0].parent / "[135].png", "-l", LABELS, "--json")
    assert sources(result) == [str(photos[n]) for n in (1, 3, 5)]
    result = run("classify", f"{photos[0].parent.parent}/**/2.png", "-l", LABELS, "--json")
    assert sources(result) == [str(photos[2])]


def test_a_file_name_that_looks_like_a_pattern_is_read_as_a_file(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "a[1].png"
    Image.fromarray(photograph()).save(path)
    assert sources(run("classify", path, "-l", LABELS, "--json")) == [str(path)]


def test_paths_are_read_from_standard_input(run: Any, photos: list[Path], tmp_path: Path) -> None:
    odd = tmp_path / " two spaces .png"
    Image.fromarray(photograph()).save(odd)
    stdin = f"{photos[3]}\n\n{odd}\r\n{photos[0]}"
    result = run("classify", photos[1], "-", "-l", LABELS, "--json", stdin=stdin)
    assert sources(result) == [str(p) for p in (photos[1], photos[3], odd, photos[0])]


def test_paths_from_standard_input_are_literal(run: Any, photos: list[Path]) -> None:
    lines = f"gone[1].jpg\n-\n{photos[0]}\n"

    result = run("classify", "-", "-l", "a cat,a dog", "--json", stdin=lines)

    assert result.exit_code == 3
    assert [Path(row["source"]).name for row in json_lines(result)] == ["gone[1].jpg", "-", "0.png"]


def test_file_names_that_are_not_utf8_are_preserved(run: Any, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(raw, "wb") as file:
        file.write(encoded(Image.fromarray(photograph()), "PNG"))
    for stdin, argument in ((None, tmp_path), (raw + b"\n", "-")):
        result = run("classify", argument, "-l", LABELS, "--json", stdin=stdin)
        assert result.exit_code == 0
        assert os.fsencode(sources(result)[0]) == raw
        for layout in ([], ["--csv"]):
            result = run("classify", argument, "-l", LABELS, *layout, stdin=stdin)
            assert result.exit_code == 0


def test_an_image_on_standard_input_is_rejected_without_printing_it(
    run: Any, photos: list[Path]
) -> None:
    result = run("classify", "-", "-l", "a cat,a dog", stdin=photos[0].read_bytes())

    assert result.exit_code == 2
    assert "looks like an image" in result.stderr
    assert len(result.stderr) < 400


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("cifar11", "did you mean the label set 'cifar10'?"),
        ("dog", "no such label set"),
        ("missing.txt", "no such label file: missing.txt (working folder "),
        ("missing/labels", "no such label file: missing/labels (working folder "),
        ("/missing/labels.json", "no such label file: /missing/labels.json; check the path"),
    ],
)
def test_a_misspelled_label_set_or_file_is_rejected(
    run: Any, photos: list[Path], labels: str, says: str
) -> None:
    result = run("classify", photos[0], "-l", labels)

    assert result.exit_code == 2
    assert says in result.stderr


# the functions


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_images_are_expanded_in_the_order_of_the_arguments(stdin: Any, photos: list[Path]) -> None:
    stdin(f"{photos[2]}\n")

    found = list(module.images([str(photos[1]), "-", "http://x/a.jpg", str(photos[0].parent)]))

    assert found == [str(photos[1]), str(photos[2]), "http://x/a.jpg", *map(str, photos)]


def test_sentences_are_taken_from_arguments_and_standard_input(stdin: Any) -> None:
    stdin("a dog\n\n  two spaces\r\n")

    assert list(module.sentences(["a cat", "-"])) == ["a cat", "a dog", "  two spaces"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("cifar10", "cifar10"), ("@cifar10", "cifar10"), ("a,b", None), ("CIFAR10", None), ("", None)],
)
def test_label_set_is_the_name_of_a_shipped_set(text: str, expected: str | None) -> None:
    assert module.label_set(text) == expected


def test_labels_are_separated_by_commas() -> None:
    assert module.labels(" a cat,, a dog ,") == {"a cat": ["a cat"], "a dog": ["a dog"]}


def test_labels_with_a_slash_or_a_dot_are_no_files() -> None:
    assert list(module.labels("cat/dog, St. Bernard, v1.0")) == ["cat/dog", "St. Bernard", "v1.0"]


def test_labels_are_read_from_a_file_with_and_without_a_leading_at(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a cat, sleeping\na dog\n")

    assert list(module.labels(str(path))) == ["a cat, sleeping", "a dog"]
    assert module.labels(f"@{path}") == module.labels(str(path))


def test_a_single_label_is_a_usage_error() -> None:
    with pytest.raises(
        click.UsageError, match=r"several labels, got --labels 'cat'.*Separate labels by"
    ):
        module.labels("cat")
