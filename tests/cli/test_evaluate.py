"""`zeroshot evaluate` measures images with known labels from folders, tables and shards."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import zeroshot
from tests.support import encoded, photograph

LABELS = ["cat", "dog", "red car"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs in each of three folders of labels."""
    for seed, name in enumerate(["cat", "dog", "red_car"] * 2):
        path = tmp_path / "data" / name / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(40, 40, seed)).save(path)
    return tmp_path / "data"


def report_of(run: Any, *arguments: str | Path) -> dict[str, Any]:
    result = run("evaluate", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    plain: dict[str, Any] = json.loads(result.stdout)
    return plain


def test_folders_give_the_report_of_the_library(
    run: Any, folder: Path, tiny: zeroshot.Model
) -> None:
    found = report_of(run, folder)

    images = sorted(folder.glob("*/*.png"))
    labels = {"cat": "cat", "dog": "dog", "red_car": "red car"}
    truth = [path.parent.name for path in images]
    expected = zeroshot.evaluate(tiny.classifier(labels), images, truth).to_dict()
    assert found == json.loads(json.dumps(expected))
    assert found["labels"] == ["cat", "dog", "red_car"]


def test_the_report_is_printed_and_saved(run: Any, folder: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "out.html", tmp_path / "out.json"

    result = run("evaluate", folder, "--report", page)

    assert result.exit_code == 0
    assert result.stdout.startswith("6 images, 3 labels")
    assert "Top-1 " in result.stdout
    assert "<svg" in page.read_text("utf-8")
    run("evaluate", folder, "--report", data)
    run("evaluate", folder, "--report", data)
    assert json.loads(data.read_text("utf-8"))["n"] == 6


@pytest.mark.parametrize(("name", "code"), [("out.pdf", 2), ("mine.html", 2), ("no/out.html", 74)])
def test_a_report_that_cannot_be_written_is_found_before_the_work(
    name: str, code: int, run: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine.html").write_text("mine")

    result = run("evaluate", tmp_path / "nowhere", "--report", tmp_path / name)

    assert result.exit_code == code
    assert "nowhere" not in result.stderr.replace(str(tmp_path), "")


def test_force_replaces_another_file(run: Any, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.html"
    path.write_text("mine")

    assert run("evaluate", folder, "--report", path, "--force").exit_code == 0
    assert "<svg" in path.read_text("utf-8")


def test_a_table_needs_labels(run: Any, folder: Path) -> None:
    table = folder / "t.csv"
    table.write_text("path,label\ncat/0.png,dog\ndog/1.png,2\n")

    without = run("evaluate", table)
    found = report_of(run, table, "--labels", "cat,dog,red car")

    assert without.exit_code == 2
    assert "expected --labels, because" in without.stderr
    assert [each["n"] for each in found["per_label"]] == [0, 1, 1]


def test_several_labels_per_image_give_map(run: Any, folder: Path) -> None:
    table = folder / "t.jsonl"
    rows = [{"path": "cat/0.png", "labels": ["cat", "dog"]}, {"path": "dog/1.png", "labels": []}]
    table.write_text("\n".join(map(json.dumps, rows)))

    found = report_of(run, table, "--labels", "cat,dog")

    assert set(found["figures"]) == {"map", "top1"}
    for option in (["--templates"], ["--compare", "{}"]):
        result = run("evaluate", table, "--labels", "cat,dog", *option)
        assert result.exit_code == 2
        assert "label per image" in result.stderr


def test_a_truth_that_is_no_label_is_invalid_usage(run: Any, folder: Path) -> None:
    result = run("evaluate", folder, "--labels", "cat,dogs,car")

    assert result.exit_code == 2
    assert "'dog' is not among the 3 labels; did you mean 'dogs'?" in result.stderr


@pytest.fixture
def shards(folder: Path) -> Path:
    """The photographs in a tar file."""
    test = folder.parent / "wds" / "test"
    test.mkdir(parents=True)
    (test / "nshards.txt").write_text("1")
    with tarfile.open(test / "0.tar", "w") as tar:
        for seed in range(4):
            image = encoded(Image.fromarray(photograph(40, 40, seed)), "PNG")
            for suffix, content in (("png", image), ("cls", str(seed % 3).encode())):
                info = tarfile.TarInfo(f"s{seed}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    (test.parent / "classnames.txt").write_text("cat\ndog\nred car\n")
    (test.parent / "zeroshot_classification_templates.txt").write_text("a {c}.\n{c}\n")
    return test.parent


def test_shards_bring_labels_and_templates(run: Any, shards: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"

    found = report_of(run, shards, "--report", page)

    assert found["labels"] == LABELS
    assert found["template_count"] == 2
    assert [each["n"] for each in found["per_label"]] == [2, 1, 1]
    if found["confusions"]:
        assert "data:image/jpeg" in page.read_text("utf-8")
        assert "0.tar/s" in page.read_text("utf-8")


def test_numbers_are_named_if_the_labels_include_the_names(run: Any, shards: Path) -> None:
    found = report_of(run, shards, "--labels", "red car,bee,dog,cat")

    assert [each["n"] for each in found["per_label"]] == [1, 0, 1, 2]


def test_numbers_follow_other_labels_of_the_same_length(run: Any, shards: Path) -> None:
    found = report_of(run, shards, "--labels", "a,b,c")
    result = run("evaluate", shards, "--labels", "a,b")

    assert [each["n"] for each in found["per_label"]] == [2, 1, 1]
    assert result.exit_code == 2
    assert "expected 3 labels in the order of the data set's classes" in result.stderr


def test_prompts_and_models_are_compared_on_the_same_images(
    run: Any, folder: Path, tiny_path: Path
) -> None:
    prompts = folder.parent / "mine.txt"
    prompts.write_text("my {}\n")

    found = report_of(
        run, folder, "--compare", "{} art", "--compare", prompts, "--compare", tiny_path
    )

    names = ["{} art", str(prompts), str(tiny_path)]
    assert [each["name"] for each in found["comparisons"]] == names
    assert found["comparisons"][2]["change"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert not found["comparisons"][2]["outside"]


def test_an_unknown_model_to_compare_is_reported(run: Any, folder: Path) -> None:
    result = run("evaluate", folder, "--compare", "ViT-B/23")

    assert result.exit_code == 4
    assert "no model named 'ViT-B/23'" in result.stderr
    assert result.stdout == ""


def test_templates_are_measured_alone_and_left_out(run: Any, folder: Path) -> None:
    found = report_of(run, folder, "--templates", "--prompts", "imagenet7")

    assert len(found["templates"]) == found["template_count"] == 7
    shown = run("evaluate", folder, "--templates").stdout
    assert "chance alone gives about 0" in shown


def test_images_that_cannot_be_read_give_exit_code_3(run: Any, folder: Path) -> None:
    (folder / "cat" / "bad.jpg").write_bytes(b"no image")

    result = run("evaluate", folder)

    assert result.exit_code == 3
    assert result.stdout.startswith("6 images")
    assert "1 of 7 images could not be read" in result.stderr
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"")
    assert "none of 7 images could be read" in run("evaluate", folder).stderr


@pytest.mark.parametrize("strict", [False, True])
def test_skipped_files_are_an_error_with_strict(strict: bool, run: Any, folder: Path) -> None:
    (folder / "loose.png").write_bytes(b"x")

    result = run("evaluate", folder, *(["--strict"] if strict else []))

    assert result.exit_code == (3 if strict else 0)
    assert "1 outside of the label folders (loose.png)" in result.stderr
    assert run("evaluate", folder, "--quiet").stderr == ""


def test_a_source_that_is_no_data_set_is_invalid_usage(run: Any, folder: Path) -> None:
    result = run("evaluate", folder / "cat")

    assert result.exit_code == 2
    assert "expected a folder per label" in result.stderr


# heads, and images that show none of the labels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photographs of two labels, and of none of them."""
    source = Path(__file__).parents[2] / "examples" / "photos"
    for label, names in (("cat", ["cat"]), ("rocket", ["rocket"]), ("none_of_these", ["temple"])):
        for name in names:
            target = tmp_path / "photos" / label / f"{name}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source / f"{name}.jpg")
    return tmp_path / "photos"


def test_a_folder_none_of_these_has_images_without_a_label(run: Any, photos: Path) -> None:
    found = report_of(run, photos, "--none", "--model", "mini")

    assert found["labels"] == ["cat", "rocket", "none of these"]
    names = ("cat/cat", "none_of_these/temple", "rocket/rocket")
    images = [photos / f"{name}.jpg" for name in names]
    classifier = zeroshot.load("mini").classifier(["cat", "rocket"], none_of_these=True)
    expected = zeroshot.evaluate(classifier, images, ["cat", None, "rocket"])
    assert found["confusion"] == expected.to_dict()["confusion"]
    assert [2, 2, 1] in found["confusion"]
    refused = run("evaluate", photos, "--model", "mini")
    assert refused.exit_code == 2
    assert "make it with none_of_these=True (on the command line --none)" in refused.stderr


def test_a_saved_head_is_measured_with_its_threshold(
    run: Any, photos: Path, tmp_path: Path
) -> None:
    head = tmp_path / "head.safetensors"
    mini = zeroshot.load("mini")
    mini.head(["cat", "rocket", "bridge"], none_of_these=True).save(head)
    (photos / "none_of_these").rename(photos / "bridge")

    found = report_of(run, photos, "--head", head, "--below", "0.999", "--model", "mini")

    assert found["figures"]["answered"]["value"] == 0.0
    assert found["figures"]["top1"]["value"] == 0.0
    assert "right_among_answers" not in found["figures"]


@pytest.mark.parametrize(
    "options", [["--labels", "cat,dog"], ["--prompts", "photo"], ["--compare", "imagenet"]]
)
def test_a_head_has_labels_and_prompts_of_its_own(
    run: Any, photos: Path, options: list[str]
) -> None:
    result = run("evaluate", photos, "--head", "head.safetensors", *options)

    assert result.exit_code == 2
    assert f"expected no {options[0]} with --head" in result.stderr


def test_templates_are_not_measured_with_none_of_these(run: Any, photos: Path) -> None:
    result = run("evaluate", photos, "--none", "--templates")

    assert result.exit_code == 2
    assert "expected no --none with --templates" in result.stderr
