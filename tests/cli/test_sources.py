"""Images, sentences and labels given on a command line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result
from PIL import Image

from tests.support import encoded, image_files, json_lines, photograph, start_cli
from zeroshot import prompts
from zeroshot.cli import sources as module
from zeroshot.errors import InputError, LabelError

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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
def test_an_image_is_read_from_standard_input(run: Any, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(image_files()[kind])

    result = run("classify", "-", "-l", LABELS, "--json", stdin=path.read_bytes())

    assert result.exit_code == 0
    (found,) = json_lines(result)
    (expected,) = json_lines(run("classify", path, "-l", LABELS, "--json"))
    assert found == {**expected, "source": "<stdin>"}


def test_an_image_on_standard_input_is_one_of_several(run: Any, photos: list[Path]) -> None:
    arguments = ("classify", photos[1], "-", photos[2], "-l", LABELS, "--json")
    result = run(*arguments, stdin=photos[0].read_bytes())

    assert sources(result) == [str(photos[1]), "<stdin>", str(photos[2])]


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (image_files()["PNG"][:900], 3, "<stdin>: the file is a truncated or corrupted PNG image"),
        (b"%PDF-1.7\n\0", 3, "<stdin>: expected an image, got a PDF document; convert"),
        (b"", 2, "no images found in standard input; expected an image, or image paths, one per"),
        (b"\x07\0\n", 2, "expected an image, or image paths, one per line, on standard input, got"),
    ],
)
def test_standard_input_without_a_readable_image_is_an_error(
    run: Any, content: bytes, code: int, says: str
) -> None:
    result = run("classify", "-", "-l", LABELS, stdin=content)

    assert result.exit_code == code
    assert says in result.stderr
    assert len(result.stderr) < 400


def test_an_image_on_standard_input_has_a_size_limit(
    run: Any, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroshot.labeling.sources.MAX_PIPE", 600)

    result = run("classify", "-", "-l", LABELS, stdin=photos[0].read_bytes())

    assert result.exit_code == 3
    assert "<stdin>: expected an image of at most 600 bytes, got more" in result.stderr


@pytest.mark.parametrize("content", [image_files()["PNG"], image_files()["PNG"][:900], b""])
def test_a_pipe_is_read_as_one_image(run: Any, tmp_path: Path, content: bytes) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()

    result = run("classify", pipe, "-l", LABELS, "--json")

    writer.join()
    (row,) = json_lines(result)
    assert row["source"] == str(pipe)
    assert result.exit_code == (0 if "ranking" in row else 3)
    assert ("ranking" in row) == (len(content) > 900)


@pytest.mark.parametrize(("argument", "source"), [("-", "<stdin>"), ("/dev/stdin", "/dev/stdin")])
def test_a_process_reads_an_image_that_another_process_writes(
    argument: str,
    source: str,
    photos: list[Path],
    tiny_path: Path,
    subprocess_environment: dict[str, str],
) -> None:
    with subprocess.Popen(["cat", photos[0]], stdout=subprocess.PIPE) as cat:
        process = start_cli(
            *("classify", argument, "-l", LABELS, "--json", "--model", tiny_path),
            environment=subprocess_environment,
            stdin=cat.stdout,
        )
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["source"] == source


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("cifar11", "did you mean the label set 'cifar10'?"),
        ("missing.txt", "no such label file: missing.txt"),
        ("cat", "no such label set"),
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
    def replace(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return replace


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
    assert module.label_set([text]) == expected


def test_labels_are_separated_by_commas() -> None:
    assert module.labels([" a cat,, a dog ,"]) == {"a cat": ["a cat"], "a dog": ["a dog"]}


def test_labels_with_a_slash_or_a_dot_are_no_files() -> None:
    assert list(module.labels(["cat/dog, St. Bernard, v1.0"])) == ["cat/dog", "St. Bernard", "v1.0"]


def test_labels_are_read_from_a_file_with_and_without_a_leading_at(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a cat, sleeping\na dog\n")

    assert list(module.labels([str(path)])) == ["a cat, sleeping", "a dog"]
    assert module.labels([f"@{path}"]) == module.labels([str(path)])


def test_a_single_label_is_a_usage_error() -> None:
    with pytest.raises(
        click.UsageError, match=r"several labels, got --labels 'cat'.*Separate labels by"
    ):
        module.labels(["cat"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["cat", "dog"], ["cat", "dog"]),
        (["cat,dog", "bird, fish"], ["cat", "dog", "bird", "fish"]),
        (['"San Francisco, CA", Paris'], ["San Francisco, CA", "Paris"]),
        (['12" ruler,dog'], ['12" ruler', "dog"]),
        (['["cat", "salt, pepper"]'], ["cat", "salt, pepper"]),
        (["cat\ndog\n"], ["cat", "dog"]),
        (["car/truck", "dog"], ["car/truck", "dog"]),
        (["stl10", "unicorn"], [*prompts.labels("stl10"), "unicorn"]),
    ],
)
def test_labels_of_several_options_are_joined(given: list[str], expected: list[str]) -> None:
    assert list(module.labels(given)) == expected


def test_labels_are_read_from_standard_input_and_pipes(stdin: Any, tmp_path: Path) -> None:
    stdin("\ufeff# pets\ncat, small\ndog\n")
    assert list(module.labels(["-", "bird"])) == ["cat, small", "dog", "bird"]
    stdin("")
    with pytest.raises(click.UsageError, match="no labels found on standard input"):
        module.labels(["-"])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("cat\ndog\n",))
    writer.start()
    assert list(module.labels([str(pipe)])) == ["cat", "dog"]
    writer.join()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@labels", r"no such label file: labels; did you mean labels\.txt\?"),
        ("labelz.txt", r"no such label file: labelz\.txt; did you mean labels\.txt\?"),
        ("@cifar1", "no such label file: cifar1; did you mean cifar10"),
        ("other.csv", r"no such label file: other\.csv; check the path; the folder is /"),
        ("sub/labels", r"no such label file: sub/labels; the folder sub does not exist"),
        ("/none/labels", "the folder /none does not exist"),
        ("sheet.xlsx", r"no such label file: sheet\.xlsx"),
        ("labels.txt,dog", r"got the file 'labels\.txt' .*--labels labels\.txt"),
        ("@labels.txt,dog", "no such label file|got the file '@labels.txt'"),
        ("[cat, dog]", "starts like JSON and is malformed"),
        ('"cat,dog', r"cannot split --labels .*double quotes"),
    ],
)
def test_text_that_was_meant_as_a_file_or_list_is_rejected(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("cat\ndog\n")
    if text.startswith("sub/"):
        says = "expected several labels" if not Path("sub").is_dir() else says

    with pytest.raises(click.UsageError, match=says) as caught:
        module.labels([text])

    assert len(caught.value.message) < 600


def test_a_label_given_twice_is_rejected() -> None:
    with pytest.raises(LabelError, match="duplicate label 'cat'"):
        module.labels(["cat,dog", "cat"])


def test_paths_separated_by_nul_are_read(run: Any, tmp_path: Path, photos: list[Path]) -> None:
    odd = tmp_path / "a\nb.png"
    Image.fromarray(photograph()).save(odd)

    result = run("classify", "-0", "-", "-l", LABELS, "--json", stdin=f"{odd}\0{photos[0]}\0")

    assert sources(result) == [str(odd), str(photos[0])]
    for command in (["classify", "-l", LABELS], ["encode", "-o", tmp_path / "e.npy"]):
        assert "expected - among" in run(*command, "-0", photos[0]).stderr


def test_a_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    for read in (module.images, module.sentences, module.labels):
        with pytest.raises(InputError, match="standard input for -, which is closed"):
            list(read(["-"]))


def test_standard_input_is_read_once(run: Any) -> None:
    result = run("classify", "-", "-l", "-", stdin="a\n")

    assert result.exit_code == 2
    assert "got - for both" in result.stderr
