"""Read Rendered SST2 and Hateful Memes in their published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zeroshot
from examples.paper.datasets.rendered_text import hateful_memes, sst2
from examples.paper.datasets.table import load
from zeroshot.errors import InputError


def write_sst2(folder: Path) -> Path:
    for part, count in (("train", 3), ("valid", 2), ("test", 4)):
        for label in ("negative", "positive"):
            target = folder / "rendered-sst2" / part / label
            target.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (28, 28), "white").save(target / f"{number}.png")
    return folder


def test_folders_of_rendered_sst2_are_the_labels(tmp_path: Path) -> None:
    data = sst2(write_sst2(tmp_path), "test")

    assert data.labels == ("negative", "positive")
    assert [data.labels[column] for column in data.truth] == [p.parent.name for p in data.images]
    assert len(data.images) == 8


def test_training_part_of_rendered_sst2_includes_the_validation_part(tmp_path: Path) -> None:
    folder = write_sst2(tmp_path) / "rendered-sst2"

    assert len(sst2(folder, "train").images) == 10
    assert len(sst2(folder, "valid").images) == 4


def test_folder_without_rendered_sst2_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no test/negative\. Expected .*openai/CLIP"):
        load("sst2", tmp_path)


MEMES = [
    {"id": 8291, "img": "img/08291.png", "label": 1, "text": "white people is this"},
    {"id": 46971, "img": "img/46971.png", "label": 0, "text": "bravery at its finest"},
    {"id": 1268, "img": "img/01268.png", "label": 0, "text": "a caf\u00e9"},
]


def write_memes(folder: Path, name: str = "dev_seen.jsonl") -> Path:
    (folder / "img").mkdir()
    for number, meme in enumerate(MEMES):
        Image.new("RGB", (30, 20), (80 * number, 0, 0)).save(folder / str(meme["img"]))
    (folder / name).write_text("\n".join(json.dumps(meme) for meme in MEMES) + "\n", "utf-8")
    return folder


@pytest.mark.parametrize("name", ["dev_seen.jsonl", "dev.jsonl"])
def test_test_part_of_memes_is_the_seen_development_set(tmp_path: Path, name: str) -> None:
    data = hateful_memes(write_memes(tmp_path, name), "test")

    assert data.truth == [1, 0, 0]
    assert data.images[0] == tmp_path / "img/08291.png"
    assert data.labels == ("meme", "hatespeech meme")


def test_other_parts_of_memes_are_read_by_name(tmp_path: Path) -> None:
    assert len(hateful_memes(write_memes(tmp_path, "test_seen.jsonl"), "test_seen").images) == 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": 1, "img": "img/1.png", "text": "no label"}, "entry 1: expected img and label"),
        ({"id": 1, "img": "img/1.png", "label": 2}, "entry 1: expected img and label"),
        ([1], "line 1: expected an object"),
    ],
    ids=["unlabeled", "other label", "list"],
)
def test_memes_without_a_valid_label_are_rejected(
    tmp_path: Path, row: object, problem: str
) -> None:
    folder = write_memes(tmp_path)
    (folder / "dev_seen.jsonl").write_text(json.dumps(row))

    with pytest.raises(InputError, match=problem):
        hateful_memes(folder, "test")


def test_truncated_memes_name_the_line(tmp_path: Path) -> None:
    folder = write_memes(tmp_path)
    path = folder / "dev_seen.jsonl"
    path.write_text(path.read_text("utf-8")[:-20], "utf-8")

    with pytest.raises(InputError, match="line 3: invalid JSON"):
        hateful_memes(folder, "test")


def test_missing_memes_are_named(tmp_path: Path) -> None:
    folder = write_memes(tmp_path)

    with pytest.raises(InputError, match=r"not hatefulmemes as published: no train\.jsonl"):
        load("hatefulmemes", folder, "train")


def test_paths_in_meme_files_do_not_leave_the_image_folder(tmp_path: Path) -> None:
    folder = write_memes(tmp_path)
    (folder / "dev_seen.jsonl").write_text('{"img": "../../etc/passwd", "label": 1}')

    assert hateful_memes(folder, "test").images == [folder / "img/passwd"]


def test_area_under_the_curve_of_memes_is_that_of_scikit_learn(
    tmp_path: Path, tiny: zeroshot.Model
) -> None:
    from sklearn.metrics import roc_auc_score

    data = hateful_memes(write_memes(tmp_path), "test")
    classifier = tiny.classifier(list(data.labels), "hatefulmemes")
    scores, truth = classifier.predict_proba(data.images)[:, 1], np.array(data.truth)

    area = zeroshot.metrics.auroc(scores[truth == 1], scores[truth == 0])

    assert area == pytest.approx(roc_auc_score(truth, scores))


def test_missing_meme_image_is_a_listed_failure(tmp_path: Path, tiny: zeroshot.Model) -> None:
    data = hateful_memes(write_memes(tmp_path), "test")
    data.images[1].unlink()
    classifier = tiny.classifier(list(data.labels), "hatefulmemes")

    report = zeroshot.evaluate(classifier, data.images, data.truth, draws=10)

    assert [failure.source for failure in report.failures] == [str(data.images[1])]
