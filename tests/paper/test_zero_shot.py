"""Tests of the recipes for zero-shot classification and prompt ensembling."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.paper import options, prompt_ensembling, published, zero_shot
from examples.paper.datasets.names import labels
from examples.paper.datasets.table import ROBUSTNESS, TABLE
from tests.paper.published import picture, write
from zeroshot import prompts
from zeroshot.errors import InputError

PAPER = (  # noqa: SIM905 - table 9, without the spaces
    "food101 cifar10 cifar100 birdsnap sun397 stanfordcars fgvcaircraft voc2007 dtd oxfordpets "
    "caltech101 flowers102 mnist fer2013 stl10 eurosat resisc45 gtsrb kitti country211 "
    "patchcamelyon ucf101 kinetics700 clevrcounts hatefulmemes sst2 imagenet"
).split()
ROOT = Path(__file__).parents[2]
README = ROOT / "examples" / "paper" / "README.md"


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """Write 40 random test images of CIFAR-10, sorted by class."""
    random = np.random.default_rng(0)
    records = random.integers(0, 256, (40, 3073), np.uint8)
    records[:, 0] = np.arange(40) // 4
    write(tmp_path / "test_batch.bin", records.tobytes())
    write(tmp_path / "batches.meta.txt", "\n".join(labels("cifar10")) + "\n")
    return tmp_path


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    base = tmp_path / "VOCdevkit/VOC2007"
    for column, name in enumerate(labels("voc2007")):
        marks = [1 if n == column % 4 else 0 if n == (column + 1) % 4 else -1 for n in range(4)]
        rows = [f"{n + 1:06d} {mark:2d}" for n, mark in enumerate(marks)]
        write(base / f"ImageSets/Main/{name}_test.txt", "\n".join(rows))
    for n in range(4):
        picture(base / f"JPEGImages/{n + 1:06d}.jpg", 60 * n)
    return tmp_path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    names = ["Abyssinian_1", "pug_2", "pug_3", "boxer_4"]
    write(tmp_path / "annotations/test.txt", "\n".join(f"{name} 1 1 1" for name in names))
    for n, name in enumerate(names[:3]):
        picture(tmp_path / f"images/{name}.jpg", 80 * n)
    return tmp_path


def test_recipe_prints_the_paper_s_metric_with_its_interval(pets, tiny_path, capsys):
    zero_shot.main(["oxfordpets", str(pets), "--model", str(tiny_path)])
    output = capsys.readouterr().out
    assert re.search(r"The paper's metric, mean per class: [\d.]+ %", output)
    assert "3 images, 37 labels" in output
    assert "prompts 'oxfordpets' (1 template)" in output
    assert "1 of 4 images could not be read" in output


def test_recipe_measures_the_images_of_an_array(cifar, tiny_path, capsys):
    zero_shot.main(["cifar10", str(cifar), "--model", str(tiny_path)])
    output = capsys.readouterr().out
    assert re.search(r"metric, top-1: [\d.]+ % \([\d.]+-[\d.]+\)", output)
    assert "No published top-1" in output


def test_recipe_measures_images_with_several_labels(voc, tiny_path, capsys):
    zero_shot.main(["voc2007", str(voc), "--model", str(tiny_path)])
    output = capsys.readouterr().out
    assert re.search(r"metric, 11-point mAP: [\d.]+ %", output)
    assert "mAP" in output


def test_recipe_measures_memes_by_the_area_under_the_curve(tmp_path, tiny_path, capsys):
    memes = [{"img": f"img/{n}.png", "label": n % 2} for n in range(6)]
    write(tmp_path / "dev_seen.jsonl", "\n".join(json.dumps(meme) for meme in memes))
    for n in range(6):
        picture(tmp_path / f"img/{n}.png", 40 * n)
    zero_shot.main(["hatefulmemes", str(tmp_path), "--model", str(tiny_path)])
    assert re.search(r"The paper's metric, ROC AUC: [\d.]+ %", capsys.readouterr().out)


def test_limit_takes_a_random_sample_of_all_classes(cifar, tiny_path, capsys):
    zero_shot.main(["cifar10", str(cifar), "--model", str(tiny_path), "--limit", "20"])
    output = capsys.readouterr().out
    assert "cifar10, test: 20 images" in output
    assert "a random sample of 20 images" in output
    absent = re.search(r"(\d+) of 10 labels have no image", output)
    assert absent is None or int(absent[1]) < 5


def test_report_contains_the_paper_s_metric(pets, tiny_path, tmp_path, capsys):
    target = tmp_path / "report.json"
    arguments = ["oxfordpets", str(pets), "--model", str(tiny_path), "--report", str(target)]
    zero_shot.main(arguments)
    figures = json.loads(target.read_text())["figures"]
    assert figures["mean_per_class"] == figures["mean_per_label"]


def test_other_prompts_can_be_given(pets, tiny_path, capsys):
    zero_shot.main(["oxfordpets", str(pets), "--model", str(tiny_path), "--prompts", "a {}"])
    assert "(1 template)" in capsys.readouterr().out


def test_report_with_another_suffix_is_rejected_before_the_work(cifar, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.html or \.json"):
        zero_shot.main(["cifar10", str(cifar), "--report", str(tmp_path / "report.txt")])


@pytest.mark.parametrize("main", [zero_shot.main, prompt_ensembling.main])
def test_recipe_without_folder_is_a_usage_error(main, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["cifar10"])
    assert caught.value.code == 2
    assert "expected NAME and FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("main", [zero_shot.main, prompt_ensembling.main])
def test_unknown_data_set_lists_the_known_ones(main, tmp_path):
    with pytest.raises(InputError, match="no data set named 'cifar'; expected one of imagenet"):
        main(["cifar", str(tmp_path)])


def test_recipes_run_as_modules_with_mini(cifar):
    command = [sys.executable, "-m", "examples.paper.zero_shot", "cifar10", str(cifar)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "mini is a demo model" in run.stdout


def test_errors_are_printed_without_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zero_shot", "cifar10", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"error: .*not cifar10 as published: no test_batch\.bin"):
        options.run(zero_shot.main)


def test_list_is_the_table_of_the_readme(capsys):
    zero_shot.main(["--list"])
    listed = capsys.readouterr().out
    assert listed in README.read_text("utf-8"), (
        "replace the table in examples/paper/README.md by the output of "
        "`python -m examples.paper.zero_shot --list`"
    )


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "paper.md"], ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page: Path) -> None:
    pattern = r"python -m examples\.paper\.(\w+)(?: ([\w-]+) [A-Z~])?"
    commands = re.findall(pattern, page.read_text("utf-8"))

    assert len(commands) > 8
    assert all((README.parent / f"{name}.py").exists() for name, _ in commands)
    known = {*TABLE, *ROBUSTNESS, "NAME", "MODEL", ""}
    assert {data for _, data in commands} <= known


def test_ensembling_prints_paired_differences(cifar, tiny_path, capsys):
    prompt_ensembling.main(["cifar10", str(cifar), "--model", str(tiny_path)])
    output = capsys.readouterr().out
    kinds = ("class name alone", '"a photo of a {}."', "18 templates of the set")
    assert all(re.search(rf"{re.escape(kind)} +top-1 [\d.]+ %", output) for kind in kinds)
    change = r" +[+-][\d.]+ \([+-][\d.]+ to [+-][\d.]+\)"
    for title in ("template - name alone", "ensemble - template", "ensemble - name alone"):
        assert re.search(title + change, output)


def test_ensembling_of_several_labels_is_rejected(voc, tiny_path):
    with pytest.raises(InputError, match="expected a data set with one label per image"):
        prompt_ensembling.main(["voc2007", str(voc), "--model", str(tiny_path)])


def test_ensemble_uses_the_synonyms_and_the_name_alone_does_not(tiny):
    data = type("Data", (), {"labels": labels("fer2013")})
    alone = options.classifier(tiny, "fer2013", data, "{}", synonyms=False)
    ensemble = options.classifier(tiny, "fer2013", data, prompts.get("fer2013"))
    assert alone.head.names[3] == ("happy",)
    assert ensemble.head.names[3] == ("happy", "smiling")


def test_published_figure_of_a_model_under_any_of_its_names():
    found = published.find("oxfordpets", "ViT-B/32")
    assert found is not None
    assert found.percent == 87.0
    assert found == published.find("oxfordpets", "openai/clip-vit-base-patch32")
    assert published.find("eurosat", "RN50").differs == "with open_clip's prompts, 5,400 images"


@pytest.mark.parametrize(
    ("name", "model"),
    [("voc2007", "ViT-B/32"), ("cifar10", "mini"), ("cifar10", "./my-model"), ("x", "RN50")],
)
def test_model_or_data_set_without_published_figure_has_none(name, model):
    assert published.find(name, model) is None


def test_published_figures_are_of_known_sets_and_equal_the_catalog_s():
    known = published._read()["percent"]
    assert set(known) <= set(prompts.available())
    from zeroshot import catalog

    for model, percent in known["imagenet"].items():
        assert catalog.find(model).accuracy == percent


def test_table_has_the_27_data_sets_of_the_paper_with_their_prompts():
    assert sorted(TABLE) == sorted(PAPER)
    for name, entry in TABLE.items():
        assert entry.prompts == name
        assert name in prompts.available()
        assert entry.layout
        assert entry.license
        assert entry.url.startswith("http"), name
    assert {name for name, entry in TABLE.items() if entry.metric != "top1"} == {
        *("fgvcaircraft", "oxfordpets", "caltech101", "flowers102"),  # mean per class
        *("voc2007", "kinetics700", "hatefulmemes"),
    }


@pytest.mark.parametrize("name", ["cifar10", "voc2007"])
def test_report_can_be_a_page_with_images_of_arrays_and_files(
    name, cifar, voc, tiny_path, tmp_path
):
    target = tmp_path / "report.html"
    arguments = [name, str(tmp_path), "--model", str(tiny_path), "--report", str(target)]
    zero_shot.main(arguments)
    assert ("data:image" in target.read_text("utf-8")) == (name == "cifar10")
