"""`zeroshot lint` prints problems by level and exits with 1 if there is an error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import zeroshot
from tests.support import photograph
from zeroshot.linting import model_rules


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ("cat,dog,none of these", 0),
        ("red_panda,panda,crane", 0),  # warnings and notes
        ("Cat,cats,dog", 1),
        ("imagenet", 0),
        ('["cat", ""]', 1),
        ('{"bird": {"wren": "wren"}, "fish": {"tench": ["tench", "carp"]}}', 0),
        ("no/such.txt", 2),
        ("imagnet", 2),
        ("[cat", 2),
    ],
)
def test_the_exit_code_tells_whether_there_is_an_error(run: Any, labels: str, code: int) -> None:
    assert run("lint", labels).exit_code == code


def test_problems_are_grouped_by_level(run: Any) -> None:
    lines = run("lint", "Cat,cats,red_panda,crane").stdout.splitlines()

    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings == ["errors", "warnings", "notes", "1 error, 1 warning, 2 notes"]
    assert lines[1] == "  equal: 'Cat', 'cats': equal but for case, accents, plural or underscores"
    assert lines[2].startswith("      keep one")


def test_labels_without_problems_are_reported_so(run: Any) -> None:
    assert run("lint", "cat,dog,none of these").stdout == "no problems found\n"


def test_json_has_all_fields_of_each_problem(run: Any) -> None:
    result = run("lint", "Cat,cats,none of these", "--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert report["ok"] is False
    (problem,) = report["problems"]
    assert problem.keys() == {"level", "kind", "labels", "message", "suggestion", "image"}
    assert problem["labels"] == ["Cat", "cats"]
    assert json.loads(run("lint", "cat,dog,none of these", "--json").stdout) == (
        {"ok": True, "problems": []}
    )


def test_a_file_with_equal_and_empty_labels_is_reported_not_rejected(
    run: Any, tmp_path: Path
) -> None:
    path = tmp_path / "labels.json"
    path.write_text('["cat", "cat", "", "dog"]')

    report = json.loads(run("lint", path, "--json").stdout)

    assert [(p["kind"], p["labels"]) for p in report["problems"] if p["level"] == "error"] == (
        [("empty", [""]), ("equal", ["cat", "cat"])]
    )


def test_labels_are_read_from_standard_input(run: Any) -> None:
    assert run("lint", "-", stdin="Cat\ncats\n").exit_code == 1
    assert run("lint", "-", stdin="").exit_code == 2


def test_prompts_are_those_of_the_label_set_or_given(run: Any) -> None:
    assert "article:" in run("lint", "cifar10").stdout
    assert "article:" not in run("lint", "cifar10", "--prompts", "a photo of the {}.").stdout
    assert "no prompt set" in run("lint", "cifar10", "-p", "none").stderr


def test_many_problems_of_one_kind_are_counted(run: Any) -> None:
    result = run("lint", "imagenet")

    assert "  contained: 27 more; --json prints all" in result.stdout.splitlines()


def test_a_model_finds_similar_labels(
    run: Any, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_rules, "WORDS", 20)

    result = run("lint", "cat,Cat", "--model", tiny_path)

    assert "synonyms: 'cat', 'Cat': near-synonyms, relative similarity 1.00" in result.stdout


def test_an_unknown_model_exits_with_four(run: Any) -> None:
    assert run("lint", "cat,dog", "--model", "no-such-model").exit_code == 4


def test_lint_without_a_model_imports_no_torch(subprocess_environment: dict[str, str]) -> None:
    import subprocess

    code = (
        "import sys\nfrom zeroshot.cli import main\n"
        "main(['lint', 'cat,dog,bird'], standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=subprocess_environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs in each of three folders of labels, and one of none of them."""
    for seed, name in enumerate(["cat", "dog", "red_car", "none of these"] * 2):
        path = tmp_path / "data" / name / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(40, 40, seed)).save(path)
    (tmp_path / "data" / "cat" / "notes.txt").touch()
    return tmp_path / "data"


def test_images_in_folders_of_labels_are_checked(run: Any, folder: Path, tiny_path: Path) -> None:
    result = run("lint", "cat,dog,red car", "--model", tiny_path, "--images", folder, "--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    (unused,) = [p for p in report["problems"] if p["kind"] == "unused images"]
    assert unused["message"].startswith("of 8 images, 2 show none of the labels")
    assert "unsupported suffix (.txt)" in result.stderr


def test_images_of_a_table_whose_labels_are_wrong_are_listed(
    run: Any, folder: Path, tiny: zeroshot.Model, tiny_path: Path
) -> None:
    path = folder / "cat" / "0.png"
    answer = str(tiny.classifier(["cat", "dog"], "photo")(path).label)
    other = "dog" if answer == "cat" else "cat"
    table = folder / "t.csv"
    rows = [f"cat/0.png,{answer}"] * 99 + [f"cat/0.png,{other}"]
    table.write_text("\n".join(["path,label", *rows]))

    result = run("lint", "cat,dog", "--model", tiny_path, "--images", table)

    assert f"cat/0.png: the label is '{other}', the answer '{answer}' with" in result.stdout


def test_numbers_of_a_table_are_columns_of_the_labels(
    run: Any, folder: Path, tiny_path: Path
) -> None:
    table = folder / "t.csv"
    table.write_text("path,label\ncat/0.png,0\ndog/1.png,7\n")

    result = run("lint", "cat,dog", "--model", tiny_path, "--images", table)

    assert result.exit_code == 2
    assert "expected a column number within 0..1, got 7" in result.stderr


def test_images_need_a_model(run: Any, folder: Path) -> None:
    result = run("lint", "cat,dog", "--images", folder)

    assert result.exit_code == 2
    assert "expected --model with --images" in result.stderr
    assert run("lint", "cat,dog", "--model", "tiny", "--images", "no/folder").exit_code == 2
