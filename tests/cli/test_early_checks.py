"""Mistakes on the command line are reported before a model is loaded."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import zeroshot
from tests.support import image_files
from zeroshot.cli import main, sources

LABELS = "a cat,a dog"


@pytest.fixture
def run_unloaded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a command; loading a model is an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(zeroshot, "load", refuse)

    def run(*words: str | Path, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin)

    return run


@pytest.mark.parametrize("layout", [[], ["--json"]])
def test_missing_images_are_reported_before_the_model_is_loaded(
    layout: list[str], run_unloaded: Any
) -> None:
    result = run_unloaded("classify", "a.jpg", "b.jpg", "-l", LABELS, *layout)

    assert result.exit_code == 3
    assert "Error: a.jpg: no such image file (working folder " in result.stderr
    assert result.stderr.endswith("2 of 2 images could not be read\n")
    rows = [json.loads(line)["source"] for line in result.stdout.splitlines()]
    assert rows == (["a.jpg", "b.jpg"] if layout else [])


def test_missing_inputs_of_encode_are_reported_before_the_model_is_loaded(
    run_unloaded: Any, tmp_path: Path
) -> None:
    out = tmp_path / "e.npy"

    result = run_unloaded("encode", "a.jpg", "-o", out)
    assert result.exit_code == 3
    assert result.stderr.endswith(f"no image could be read; {out} was not written\n")
    assert "--text" not in result.stderr
    assert "to encode sentences, use --text" in run_unloaded("encode", "a cat", "-o", out).stderr


def test_images_that_exist_are_classified_together_with_missing_ones(
    run: Any, photos: list[Path]
) -> None:
    result = run("classify", "none.jpg", photos[0], "-l", LABELS, "--json")

    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 2


def test_unknown_prompts_are_reported_before_the_model_is_loaded(
    run_unloaded: Any, photos: list[Path]
) -> None:
    result = run_unloaded("classify", photos[0], "-l", LABELS, "-p", "imagnet")

    assert (result.exit_code, "did you mean 'imagenet'" in result.stderr) == (2, True)


def test_a_head_of_another_catalog_model_is_reported_before_the_model_is_loaded(
    mini_head: Path, run_unloaded: Any, photos: list[Path]
) -> None:
    result = run_unloaded("classify", photos[0], "--head", mini_head, "-m", "ViT-B/32")

    assert result.exit_code == 4
    assert "this head was built by mini, got --model ViT-B/32; omit --model" in result.stderr


@pytest.fixture
def mini_head(tmp_path: Path) -> Path:
    path = tmp_path / "pets.safetensors"
    zeroshot.load("mini").head(["cat", "dog"]).save(path)
    return path


def test_the_model_of_a_head_can_be_given(mini_head: Path, photos: list[Path]) -> None:
    words = ["classify", str(photos[0]), "--head", str(mini_head), "-m", "catalog:mini"]

    assert CliRunner().invoke(main, words).exit_code == 0


@pytest.mark.parametrize("content", ["cat, dog\n", "cat;dog", "cat\tdog", "cat|dog", '["cat"]'])
def test_a_list_in_one_line_of_standard_input_is_rejected(
    content: str, run_unloaded: Any, photos: list[Path]
) -> None:
    result = run_unloaded("classify", photos[0], "-l", "-", stdin=content)

    assert result.exit_code == 2
    assert "one label per line" in result.stderr


def test_indented_json_on_standard_input_is_rejected(run_unloaded: Any, photos: list[Path]) -> None:
    result = run_unloaded("classify", photos[0], "-l", "-", stdin='[\n  "cat",\n  "dog"\n]\n')

    assert "expected one label per line on standard input, got JSON" in result.stderr


@pytest.mark.parametrize(
    ("name", "content"), [("l.txt", "cat, dog, bird\n"), ("l.csv", "cat|dog\n")]
)
def test_a_list_in_one_line_of_a_file_is_rejected(
    name: str, content: str, run_unloaded: Any, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)

    result = run_unloaded("classify", photos[0], "-l", path)

    assert result.exit_code == 2
    assert f"in {path}; write one label per line" in result.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (image_files()["JPEG"], "standard input is an image; omit -0"),
        (b"a.jpg\nb.jpg\n", "standard input contains line breaks; omit -0"),
    ],
)
def test_null_requires_paths_separated_by_nul(
    content: bytes, says: str, run: Any, tmp_path: Path
) -> None:
    for words in (["classify", "-l", LABELS], ["encode", "-o", tmp_path / "e.npy"]):
        result = run(*words, "-0", "-", stdin=content)

        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert says in result.stderr


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("cifar10,imagenet7", "got the label set 'cifar10' among them"),
        ("cat,stl10", "--labels stl10"),
        ("@cifar10,bird", "got the label set '@cifar10' among them"),
        ("@none.txt,bird", "got the file '@none.txt' among them"),
    ],
)
def test_label_sets_among_labels_are_rejected(
    labels: str, says: str, run_unloaded: Any, photos: list[Path]
) -> None:
    result = run_unloaded("classify", photos[0], "-l", labels)

    assert result.exit_code == 2
    assert says in result.stderr


def test_a_label_file_in_the_home_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pets.txt").write_text("cat\ndog\n")

    assert list(sources.labels(["~/pets.txt"])) == ["cat", "dog"]


def test_a_folder_is_no_label_file(tmp_path: Path) -> None:
    (tmp_path / "d.txt").mkdir()

    with pytest.raises(click.UsageError, match=r"expected a label file, got the folder .*d\.txt"):
        sources.labels([str(tmp_path / "d.txt")])


@pytest.mark.parametrize("template", ["a {x}", "a photo of a {label}", "a cat"])
def test_a_template_without_a_slot_gets_the_cause(template: str, run_unloaded: Any) -> None:
    result = run_unloaded("classify", "a.jpg", "-l", LABELS, "-p", template)

    assert result.exit_code == 2
    says = f"expected a template with one {{}}, which is replaced by the label, got {template!r}"
    assert says in result.stderr
    assert "imagenet" not in result.stderr


@pytest.mark.parametrize("argument", ["list.txt", "@list.txt"])
def test_a_list_of_images_gets_the_way_to_read_it(
    argument: str, run_unloaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("a.jpg\nb.jpg\n")

    for words in (["classify", "-l", LABELS], ["encode", "-o", "e.npy"]):
        result = run_unloaded(*words, argument)

        assert result.exit_code == 2
        assert f"got the text file {argument!r}" in result.stderr
        assert "- < list.txt" in result.stderr


def test_a_head_given_as_model_is_recognized(mini_head: Path, photos: list[Path]) -> None:
    words = ["classify", str(photos[0]), "-l", LABELS, "-m", str(mini_head)]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 4
    assert result.stderr == f"Error: {mini_head}: this is a head, not a model; use --head\n"


def test_a_text_file_given_as_head_is_no_head(
    run_unloaded: Any, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("# A text of many words\n")

    result = run_unloaded("classify", photos[0], "--head", tmp_path / "README.md")

    assert "README.md: not a head file" in result.stderr
    assert "corrupted" not in result.stderr


@pytest.mark.parametrize("encode", [base64.encodebytes, base64.b64encode])
def test_base64_of_an_image_on_standard_input_is_read(encode: Any, run: Any) -> None:
    result = run("classify", "-", "-l", LABELS, "--json", stdin=encode(image_files()["JPEG"]))

    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["classify", "-", "-l", LABELS], "Note: reading image paths, one per line, from"),
        (["classify", "a.jpg", "-l", "-"], "Note: reading labels, one per line, from"),
    ],
)
def test_a_terminal_is_told_what_is_read(
    words: list[str], says: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)

    result = run(*words, stdin="")

    assert f"{says} the terminal; end with Ctrl-D\n" in result.stderr
    assert "Note" not in run(*words, "-q", stdin="").stderr


@pytest.mark.parametrize(
    "words",
    [("a\x1b]0m.jpg", "-l", LABELS), ("a.jpg", "-l", "cat,a\x1b]0m.txt")],
    ids=["image", "usage"],
)
def test_control_characters_are_escaped_on_a_terminal(
    words: tuple[str, ...], run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "a\x1b]0m." in run("classify", *words).stderr
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)

    shown = run("classify", *words).stderr
    assert "a\\x1b]0m." in shown
    assert "\x1b" not in shown
