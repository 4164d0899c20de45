"""Read KITTI and CLEVR in their published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zeroshot
from examples.paper.datasets.scenes import clevr_counts, kitti
from examples.paper.datasets.table import load
from zeroshot.errors import InputError

# lines have 15 fields: type, truncated, occluded, alpha, box (4), size (3), place (3), rotation
CAR = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 {z} -1.59"
WALKER = "Pedestrian 0.00 0 -0.20 712.40 143.00 810.73 307.92 1.89 0.48 1.20 1.84 1.47 {z} 0.01"
IGNORED = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"


def write_kitti(folder: Path, contents: list[str]) -> Path:
    for name in ("training/image_2", "training/label_2", "mapping"):
        (folder / name).mkdir(parents=True)
    for number, content in enumerate(contents):
        (folder / f"training/label_2/{number:06}.txt").write_text(content)
        Image.new("RGB", (16, 8)).save(folder / f"training/image_2/{number:06}.png")
    # image n is in line (count - n); each video has two images
    count = len(contents)
    lines = [f"2011_09_26 2011_09_26_drive_{n // 2:04}_sync {n:010}" for n in range(count)]
    (folder / "mapping/train_mapping.txt").write_text("\n".join(lines) + "\n")
    (folder / "mapping/train_rand.txt").write_text(",".join(str(count - n) for n in range(count)))
    return folder


@pytest.mark.parametrize(
    ("content", "column"),
    [
        (CAR.format(z="7.99"), 0),
        (CAR.format(z="8.00"), 0),
        (CAR.format(z="8.01"), 1),
        (CAR.format(z="20.00"), 1),
        (CAR.format(z="34.38"), 2),
        ("\n".join([CAR.format(z="34.38"), CAR.format(z="9.0").replace("Car", "Truck")]), 1),
        (CAR.format(z="5.0").replace("Car", "Tram"), 3),
        (WALKER.format(z="2.0"), 3),
        (IGNORED, 3),
        ("", 3),
    ],
    ids=["7.99", "8", "8.01", "20", "far", "nearest", "tram", "walker", "ignored", "empty"],
)
def test_class_of_kitti_is_the_distance_of_the_nearest_vehicle(
    tmp_path: Path, content: str, column: int
) -> None:
    data = kitti(write_kitti(tmp_path, [content]), "all")

    assert data.truth == [column]
    assert data.labels[3] == "a photo i took with no car."


def test_kitti_is_divided_by_video_as_in_tensorflow_datasets(tmp_path: Path) -> None:
    folder = write_kitti(tmp_path, [CAR.format(z="5.0")] * 40)

    test, train = kitti(folder, "test"), kitti(folder, "train")

    # the reference: numpy's global generator, seeded with 123, over sorted names of 20 videos
    state = np.random.get_state()
    np.random.seed(123)
    names = np.random.choice(sorted({f"{n:04}" for n in range(20)}), 2, replace=False)
    np.random.set_state(state)
    expected = sorted(39 - line for name in names for line in (2 * int(name), 2 * int(name) + 1))
    assert [int(path.stem) for path in test.images] == expected
    assert len(train.images) == 36
    assert not set(train.images) & set(test.images)


def test_kitti_without_the_development_kit_names_the_file(tmp_path: Path) -> None:
    folder = write_kitti(tmp_path, [CAR.format(z="5.0")] * 4)
    (folder / "mapping/train_rand.txt").unlink()

    with pytest.raises(InputError, match=r"no train_rand\.txt\. Expected .*devkit_object"):
        load("kitti", folder)


def test_development_kit_may_be_in_its_own_folder(tmp_path: Path) -> None:
    folder = write_kitti(tmp_path, [CAR.format(z="5.0")] * 20)
    before = kitti(folder, "test")
    (folder / "devkit_object").mkdir()
    (folder / "mapping").rename(folder / "devkit_object/mapping")

    assert kitti(folder, "test") == before


@pytest.mark.parametrize("order", ["1,2,0,4", "1,2,3,5", "1,2,x,4"], ids=["zero", "line", "text"])
def test_damaged_development_kit_is_rejected(tmp_path: Path, order: str) -> None:
    folder = write_kitti(tmp_path, [CAR.format(z="5.0")] * 4)
    (folder / "mapping/train_rand.txt").write_text(order)

    with pytest.raises(InputError, match=r"train_rand.txt and train_mapping.txt do not match"):
        kitti(folder, "test")


def test_incomplete_kitti_labels_are_rejected(tmp_path: Path) -> None:
    folder = write_kitti(tmp_path, [CAR.format(z="5.0")] * 4)
    (folder / "training/label_2/000003.txt").unlink()

    with pytest.raises(InputError, match=r"expected 4 files in training/label_2.*got 3"):
        kitti(folder, "test")


@pytest.mark.parametrize("line", ["Car 0.00 0", CAR.format(z="near")], ids=["short", "text"])
def test_damaged_kitti_label_names_the_file_and_line(tmp_path: Path, line: str) -> None:
    folder = write_kitti(tmp_path, [CAR.format(z="5.0") + "\n" + line])

    with pytest.raises(InputError, match=r"000000.txt, line 2: expected 15 fields"):
        kitti(folder, "all")


def test_folder_without_kitti_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no training/label_2\. Expected .*cvlibs\.net"):
        load("kitti", tmp_path)


def write_clevr(folder: Path, counts: list[int], part: str = "val") -> Path:
    root = folder / "CLEVR_v1.0"
    (root / "images" / part).mkdir(parents=True)
    (root / "scenes").mkdir()
    scenes = []
    for number, count in enumerate(counts):
        name = f"CLEVR_{part}_{number:06}.png"
        Image.new("RGB", (48, 32)).save(root / "images" / part / name)
        objects = [{"shape": "cube", "color": "red", "material": "metal", "size": "large"}] * count
        scenes.append(
            {"split": part, "image_index": number, "image_filename": name, "objects": objects}
        )
    info = {"split": part, "version": "1.0", "license": "Creative Commons Attribution (CC-BY 4.0)"}
    path = root / "scenes" / f"CLEVR_{part}_scenes.json"
    path.write_text(json.dumps({"info": info, "scenes": scenes}))
    return folder


def test_class_of_clevr_is_the_number_of_objects(tmp_path: Path) -> None:
    data = clevr_counts(write_clevr(tmp_path, [3, 10, 7]), "test")

    assert [data.labels[column] for column in data.truth] == ["3", "10", "7"]
    assert all(path.is_file() for path in data.images)
    assert data.labels == tuple(zeroshot.prompts.labels("clevrcounts"))


def test_clevr_folder_itself_and_its_training_images_are_read(tmp_path: Path) -> None:
    folder = write_clevr(tmp_path, [4, 5], part="train") / "CLEVR_v1.0"

    assert len(clevr_counts(folder, "train").images) == 2


def test_clevr_scene_with_another_number_of_objects_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 to 10 objects, got KeyError.'2'. in scene 1"):
        clevr_counts(write_clevr(tmp_path, [3, 2]), "test")


def test_truncated_clevr_scenes_are_rejected(tmp_path: Path) -> None:
    folder = write_clevr(tmp_path, [3])
    path = folder / "CLEVR_v1.0/scenes/CLEVR_val_scenes.json"
    path.write_text(path.read_text()[:-5])

    with pytest.raises(InputError, match="invalid JSON"):
        clevr_counts(folder, "test")


def test_unknown_split_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="among train, test, got 'val'"):
        clevr_counts(tmp_path, "val")


def test_scenes_can_be_evaluated(tmp_path: Path, tiny: zeroshot.Model) -> None:
    data = clevr_counts(write_clevr(tmp_path, [3, 10, 7]), "test")
    classifier = tiny.classifier(list(data.labels), "clevrcounts")

    assert zeroshot.evaluate(classifier, data.images, data.truth, draws=10).n == 3
