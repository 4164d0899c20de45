"""Data sets in tar files, as CLIP_benchmark stores them, are read one image at a time."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import image_files
from zeroshot.errors import InputError
from zeroshot.labeling import shards

PNG = image_files()["PNG"]
JPEG = image_files()["JPEG"]


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two shards with three images of two classes."""
    test = tmp_path / "wds" / "test"
    test.mkdir(parents=True)
    (test / "nshards.txt").write_text("2\n")
    write_tar(
        test / "0.tar",
        {
            "s000.cls": b"1",
            "s000.jpg": JPEG,
            "s001.png": PNG,
            "s001.cls": b"0\n",
            "s001.json": b"{}",
        },
    )
    write_tar(test / "1.tar", {"./a/s000.webp": b"x", "./a/s000.cls": b"1"})
    (test.parent / "classnames.txt").write_text("cat\nKäfer\n", "utf-8")
    (test.parent / "zeroshot_classification_templates.txt").write_text("a {c}.\n\n{c}\n")
    return test.parent


def test_images_classes_and_templates_are_read(data: Path) -> None:
    found = shards.read(data)

    assert shards.is_shards(data)
    assert found.truth == [1, 0, 1]
    assert found.labels == {"cat": ["cat"], "Käfer": ["Käfer"]}
    assert found.templates == ("a {}.", "{}")
    assert [sample.image for sample in found.images] == [JPEG, PNG, b"x"]
    assert found.images[0].key == f"{data}/test/0.tar/s000.jpg"
    assert found.images[2].key == f"{data}/test/1.tar/./a/s000.webp"
    assert found.images[1:] == [found.images[1], found.images[2]]


def test_labels_of_several_classes_are_arrays(data: Path) -> None:
    (data / "dataset_type.txt").write_text("multilabel")
    (data / "test" / "nshards.txt").write_text("1")
    files: dict[str, bytes] = {}
    for name, row in {"a": [1, 0, 1], "b": [0, 0, 0]}.items():
        buffer = io.BytesIO()
        np.save(buffer, np.array(row))
        files |= {f"{name}.npy": buffer.getvalue(), f"{name}.jpg": JPEG}
    write_tar(data / "test" / "0.tar", files)

    assert shards.read(data).truth == [[0, 2], []]


def test_files_beside_the_tar_files_are_optional(data: Path) -> None:
    for name in ("classnames.txt", "zeroshot_classification_templates.txt", "test/nshards.txt"):
        (data / name).unlink()

    found = shards.read(data)

    assert len(found.images) == 3
    assert found.labels is None
    assert found.templates is None


def test_class_names_that_are_equal_stay_two_labels(data: Path) -> None:
    (data / "classnames.txt").write_text("crane\ncrane\n")

    assert shards.read(data).labels == {"crane": ["crane"], "crane (2)": ["crane"]}


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset_type.txt": b"retrieval"}, "classification or multilabel, got 'retrieval'"),
        ({"test/nshards.txt": b"3"}, "expected 3 tar files as nshards.txt says, got no 2.tar"),
        ({"test/nshards.txt": b"999999999999"}, "got no 2.tar; download it"),
        ({"test/nshards.txt": b"9" * 5000}, r"the number of tar files, got \['999"),
        ({"test/nshards.txt": b"two"}, r"expected the number of tar files, got \['two'\]"),
        ({"test/1.tar": b"no tar" * 100}, "1.tar: not a readable tar file"),
        ({"classnames.txt": b"\xff\xff"}, "classnames.txt: cannot be read"),
        ({"dataset_type.txt": b"multilabel"}, "and a .npy file for 's000', got .cls, .jpg"),
    ],
)
def test_incomplete_and_malformed_data_are_rejected(
    change: dict[str, bytes], message: str, data: Path
) -> None:
    for name, content in change.items():
        (data / name).write_bytes(content)

    with pytest.raises(InputError, match=message) as caught:
        shards.read(data)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("files", "kind", "message"),
    [
        ({"a.jpg": JPEG}, "", r"an image .* and a .cls file for 'a', got .jpg"),
        ({"a.cls": b"1"}, "", "got .cls; correct the file"),
        ({"a.jpg": JPEG, "a.cls": b" "}, "", "a.cls: expected a class number, got an empty file"),
        ({"a.jpg": JPEG, "a.cls": b"\xff"}, "", "a.cls: cannot be read"),
        ({"a.jpg": JPEG, "a.cls": b"1" * 5000}, "", "of at most 18 digits, got 5000 digits"),
        ({"a.jpg": JPEG, "a.cls": b"1" * 2_000_000}, "", "label of at most 1048576 bytes"),
        ({"a.jpg": JPEG, "a.npy": b"1"}, "multilabel", "a.npy: cannot be read"),
        ({"a.jpg": JPEG, "a.npy": pickled()}, "multilabel", "a.npy: cannot be read"),
    ],
)
def test_samples_without_an_image_or_label_are_rejected(
    files: dict[str, bytes], kind: str, message: str, data: Path
) -> None:
    (data / "test" / "nshards.txt").write_text("1")
    write_tar(data / "test" / "0.tar", files)
    if kind:
        (data / "dataset_type.txt").write_text(kind)

    with pytest.raises(InputError, match=message):
        shards.read(data)


def test_links_and_folders_in_tar_files_are_ignored(data: Path) -> None:
    with tarfile.open(data / "test" / "0.tar", "a") as tar:
        link = tarfile.TarInfo("s009.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    assert len(shards.read(data).images) == 3


def test_a_class_name_in_a_cls_file_is_kept(data: Path) -> None:
    (data / "test" / "nshards.txt").write_text("1")
    write_tar(data / "test" / "0.tar", {"a.jpg": JPEG, "a.cls": "Käfer".encode()})
    found: list[Any] = shards.read(data).truth

    assert found == ["Käfer"]


def test_members_are_the_files_of_each_sample_by_suffix(tmp_path: Path) -> None:
    files = {"a/0.jpg": JPEG, "a/0.TXT": b"a cat", "a/0.seg.png": PNG, "b": b"no suffix"}
    write_tar(tmp_path / "x.tar", files)

    found = shards.members(tmp_path / "x.tar")

    assert {name: sorted(of) for name, of in found.items()} == {"a/0": ["jpg", "seg.png", "txt"]}
    assert found["a/0"]["txt"].read() == b"a cat"
    assert found["a/0"]["jpg"].name == "a/0.jpg"


def test_members_of_a_compressed_or_missing_tar_file_are_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))

    for name in ("x.tar", "missing.tar"):
        with pytest.raises(InputError, match=f"{name}: not a readable tar file .*; unpack it if"):
            shards.members(tmp_path / name)
