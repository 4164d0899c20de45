"""Images with known labels are read from folders, tables and shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from zeroshot.errors import InputError
from zeroshot.labeling import truth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder per label, as torchvision's ImageFolder expects."""
    for name in ("golden_retriever/b.jpg", "golden_retriever/a.PNG", "Käfer/1/c.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "data"


def add(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_are_labels(folder: Path) -> None:
    found = truth.read(folder)

    assert [str(Path(str(p)).relative_to(folder)) for p in found.images] == [
        "Käfer/1/c.jpg",
        "golden_retriever/a.PNG",
        "golden_retriever/b.jpg",
    ]
    assert found.truth == ["Käfer", "golden_retriever", "golden_retriever"]
    assert found.labels == {"Käfer": ["Käfer"], "golden_retriever": ["golden retriever"]}
    assert not found.skipped


def test_an_empty_folder_is_a_label_without_images(folder: Path) -> None:
    (folder / "zebra").mkdir()

    assert "zebra" in (truth.read(folder).labels or {})


def test_files_that_are_no_images_of_a_label_are_counted(folder: Path) -> None:
    add(folder, "readme.md", "loose.jpg", "Käfer/notes.txt", ".hidden/a.jpg", ".DS_Store")

    found = truth.read(folder)

    assert len(found.images) == 3
    assert "2 outside of the label folders (loose.jpg, readme.md)" in str(found.skipped)
    assert "1 with an unsupported suffix (.txt)" in str(found.skipped)


def test_wordnet_ids_are_labels_of_imagenet_in_its_order(tmp_path: Path) -> None:
    add(tmp_path, "n01443537/a.jpg", "n01440764/b.jpg")

    found = truth.read(tmp_path)

    assert found.truth == ["n01440764", "n01443537"]
    assert list(found.labels or {}) == ["tench", "goldfish"]
    assert found.prompts == "imagenet"


def test_numbered_folders_name_no_labels(tmp_path: Path) -> None:
    add(tmp_path, "0/a.jpg", "10/b.jpg", "2/c.jpg")

    found = truth.read(tmp_path)

    assert found.truth == ["0", "10", "2"]
    assert found.labels is None


def test_a_folder_named_by_white_space_keeps_its_name(tmp_path: Path) -> None:
    add(tmp_path, "_/a.jpg")

    assert truth.read(tmp_path).labels == {"_": ["_"]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg"], "expected a folder per label, got a folder without folders"),
        (["train/cat/a.jpg", "val/cat/a.jpg"], r"got the splits train, val; pass one .*val$"),
        (["cat/a.txt"], r"no images in its 1 folders \(cat\).*skipped 1"),
    ],
)
def test_folders_of_another_kind_are_rejected(
    names: list[str], message: str, tmp_path: Path
) -> None:
    add(tmp_path, *names)

    with pytest.raises(InputError, match=message) as caught:
        truth.read(tmp_path)
    assert len(str(caught.value)) < 600


def test_a_source_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file or folder \(working folder"):
        truth.read("nowhere")


def test_tables_and_shards_are_recognized(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,label\na.jpg,cat\n")

    assert truth.read(table).truth == ["cat"]

    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "nshards.txt").write_text("0")
    with pytest.raises(InputError, match="no images in its tar files"):
        truth.read(tmp_path)


def test_numbers_are_replaced_by_names_that_are_labels() -> None:
    found = truth.Truth([], [1, [0, 1], "b", 7, None], {"a": ["a"], "b": ["b"]})

    assert found.named(["b", "c", "a"]) == ["b", ["a", "b"], "b", 7, None]


def test_numbers_follow_other_labels_of_the_same_length() -> None:
    found = truth.Truth([], [1, 0], {"a": ["a"], "b": ["b"]})

    assert found.named(["x", "y"]) == [1, 0]
    with pytest.raises(
        InputError, match=r"expected 2 labels in the order .* got 3 others; use its"
    ):
        found.named(["x", "y", "z"])


def test_names_and_numbers_without_names_are_kept() -> None:
    assert truth.Truth([], ["x", None], {"a": ["a"]}).named(["b", "c"]) == ["x", None]
    assert truth.Truth([], [3, 4]).named(["b"]) == [3, 4]
