"""Tests of data sets that store images as numbers in one file."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from examples.paper.datasets.arrays import FER2013
from examples.paper.datasets.names import labels
from examples.paper.datasets.table import load
from tests.paper.published import write
from zeroshot.errors import ImageError, InputError

RANDOM = np.random.default_rng(0)
NAMES10 = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"


def pixels(*shape: int) -> np.ndarray:
    """Return random uint8 images [n, h, w, 3]."""
    return RANDOM.integers(0, 256, shape, np.uint8)


def cifar(path: Path, images: np.ndarray, *numbers: list[int]) -> Path:
    """Write records of CIFAR: the numbers of an image, then its planes."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    columns = [np.asarray(each, np.uint8)[:, None] for each in numbers]
    return write(path, np.hstack([*columns, planes]).tobytes())


def test_cifar10_record_is_a_label_and_three_planes(tmp_path):
    images = pixels(3, 32, 32, 3)
    cifar(tmp_path / "cifar-10-batches-bin/test_batch.bin", images, [9, 0, 3])
    write(tmp_path / "cifar-10-batches-bin/batches.meta.txt", NAMES10)
    found = load("cifar10", tmp_path)
    assert [found.labels[n] for n in found.truth] == ["truck", "airplane", "cat"]
    assert all((found.images[n].make() == images[n]).all() for n in range(3))
    assert found.images[-1].name == "test_batch.bin/2"


def test_cifar10_trains_on_five_batches_in_order(tmp_path):
    images = pixels(10, 32, 32, 3)
    for n in range(5):
        cifar(tmp_path / f"data_batch_{n + 1}.bin", images[2 * n : 2 * n + 2], [n, n + 1])
    write(tmp_path / "batches.meta.txt", NAMES10)
    found = load("cifar10", tmp_path, "train")
    assert found.truth == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert all((found.images[n].make() == images[n]).all() for n in range(10))
    assert found.images[3].name == "data_batch_2.bin/1"


def test_cifar100_uses_the_fine_label(tmp_path):
    images = pixels(2, 32, 32, 3)
    cifar(tmp_path / "cifar-100-binary/test.bin", images, [19, 11], [99, 1])
    names = "\n".join(label.replace(" ", "_") for label in labels("cifar100"))
    write(tmp_path / "cifar-100-binary/fine_label_names.txt", names)
    found = load("cifar100", tmp_path)
    assert [found.labels[n] for n in found.truth] == ["worm", "aquarium fish"]
    assert (found.images[1].make() == images[1]).all()


@pytest.mark.parametrize(
    ("name", "file"),
    [("cifar10", "cifar-10-batches-py/test_batch"), ("cifar100", "cifar-100-python/test")],
)
def test_pickles_of_cifar_are_rejected_with_advice(name, file, tmp_path):
    write(tmp_path / file, pickle.dumps({b"data": b""}))
    for folder in (tmp_path, tmp_path / Path(file).parent):
        with pytest.raises(InputError, match=r"pickles and can run code; download the binary"):
            load(name, folder)


def test_truncated_cifar_file_is_rejected(tmp_path):
    write(tmp_path / "test_batch.bin", bytes(3072))
    write(tmp_path / "batches.meta.txt", NAMES10)
    with pytest.raises(InputError, match="expected records of 3073 bytes, got 3072 bytes"):
        load("cifar10", tmp_path)


def test_cifar_label_above_the_classes_is_rejected(tmp_path):
    cifar(tmp_path / "test_batch.bin", pixels(1, 32, 32, 3), [10])
    write(tmp_path / "batches.meta.txt", NAMES10)
    with pytest.raises(InputError, match=r"expected a class number within 0\.\.9, got '10'"):
        load("cifar10", tmp_path)


@pytest.fixture
def unlabeled(tmp_path: Path) -> np.ndarray:
    """Write the test images of STL-10, and return them: [2, 96, 96, 3]."""
    images = pixels(2, 96, 96, 3)
    base = tmp_path / "stl10_binary"
    write(base / "test_X.bin", images.transpose(0, 3, 2, 1).tobytes())  # columns first
    write(base / "test_y.bin", bytes([1, 10]))
    write(base / "class_names.txt", "\n".join(labels("stl10")) + "\n")
    return images


def test_stl10_images_are_stored_by_columns_and_labels_start_at_1(tmp_path, unlabeled):
    found = load("stl10", tmp_path)
    assert [found.labels[n] for n in found.truth] == ["airplane", "truck"]
    assert all((found.images[n].make() == unlabeled[n]).all() for n in range(2))


def test_stl10_with_other_number_of_labels_is_rejected(tmp_path, unlabeled):
    write(tmp_path / "stl10_binary/test_y.bin", bytes([1]))
    with pytest.raises(InputError, match="got 2 and 1; download both again"):
        load("stl10", tmp_path)


def idx(values: np.ndarray) -> bytes:
    """Return an IDX file of unsigned bytes."""
    return struct.pack(f">i{values.ndim}i", 2048 + values.ndim, *values.shape) + values.tobytes()


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_mnist_is_read_compressed_or_not(tmp_path, suffix):
    images, truth = pixels(3, 28, 28), np.array([7, 2, 1], np.uint8)
    pack = gzip.compress if suffix else bytes
    write(tmp_path / f"t10k-images-idx3-ubyte{suffix}", pack(idx(images)))
    write(tmp_path / f"t10k-labels-idx1-ubyte{suffix}", pack(idx(truth)))
    found = load("mnist", tmp_path)
    assert found.truth == [7, 2, 1]
    assert (found.images[2].make() == images[2]).all()


@pytest.mark.parametrize(
    "content",
    [b"", idx(np.zeros((1, 28, 28), np.uint8))[:-1], idx(np.zeros(784, np.uint8))],
    ids=["empty", "truncated", "labels"],
)
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_broken_idx_file_is_rejected(tmp_path, content, suffix):
    pack = gzip.compress if suffix else bytes
    write(tmp_path / f"train-images-idx3-ubyte{suffix}", pack(content))
    write(tmp_path / f"train-labels-idx1-ubyte{suffix}", pack(idx(np.zeros(1, np.uint8))))
    with pytest.raises(InputError, match="IDX file"):
        load("mnist", tmp_path, "train")


def test_truncated_gzip_file_is_rejected(tmp_path):
    write(tmp_path / "t10k-images-idx3-ubyte.gz", gzip.compress(bytes(800))[:-9])
    write(tmp_path / "t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(1, np.uint8))))
    with pytest.raises(InputError, match="not a complete IDX file"):
        load("mnist", tmp_path)


def faces(order: list[str], quote: str) -> tuple[str, np.ndarray]:
    """Return a table of three faces in the order of some columns, and the faces."""
    images = pixels(3, 48, 48)
    rows = [
        {
            "emotion": str(emotion),
            "pixels": quote + " ".join(map(str, image.ravel())) + quote,
            "Usage": usage,
        }
        for image, emotion, usage in zip(
            images, (6, 0, 3), ("PrivateTest", "Training", "PrivateTest"), strict=True
        )
    ]
    return "\n".join(",".join(row[name.strip()] for name in order) for row in rows), images


@pytest.mark.parametrize(
    ("name", "header"),
    [("fer2013.csv", "emotion,pixels,Usage"), ("icml_face_data.csv", "emotion, Usage, pixels")],
)
def test_fer2013_tests_on_private_rows(tmp_path, name, header):
    content, images = faces(header.split(","), '"' if name == "fer2013.csv" else "")
    write(tmp_path / name, f"{header}\n{content}\n")
    found = load("fer2013", tmp_path)
    assert [found.labels[n] for n in found.truth] == ["neutral", "happy"]
    assert (found.images[1].make() == images[2]).all()
    assert load("fer2013", tmp_path, "train").truth == [0]


def test_fer2013_row_of_other_size_is_an_unreadable_image(tmp_path):
    write(tmp_path / "fer2013.csv", 'emotion,pixels,Usage\n0,"1 2 3",PrivateTest\n')
    with pytest.raises(ImageError, match="expected 2304 gray values"):
        load("fer2013", tmp_path).images[0].read()


def test_fer2013_emotion_above_the_classes_is_rejected(tmp_path):
    write(tmp_path / "fer2013.csv", 'emotion,pixels,Usage\n7,"1 2 3",PrivateTest\n')
    with pytest.raises(InputError, match=rf"within 0\.\.{len(FER2013) - 1}, got '7'"):
        load("fer2013", tmp_path)


def camelyon(folder: Path, part: str, images: np.ndarray, truth: list[int]) -> None:
    stem = f"camelyonpatch_level_2_split_{part}"
    with h5py.File(folder / f"{stem}_x.h5", "w") as file:
        file.create_dataset("x", data=images, chunks=(1, 96, 96, 3))
    with h5py.File(folder / f"{stem}_y.h5", "w") as file:
        file["y"] = np.asarray(truth, np.uint8).reshape(-1, 1, 1, 1)


def test_patchcamelyon_reads_an_image_of_a_file(tmp_path):
    images = pixels(2, 96, 96, 3)
    camelyon(tmp_path, "test", images, [1, 0])
    found = load("patchcamelyon", tmp_path)
    assert [found.labels[n] for n in found.truth] == [
        "lymph node containing metastatic tumor tissue",
        "lymph node",
    ]
    assert (found.images[0].make() == images[0]).all()


def test_patchcamelyon_trains_on_train_and_valid_images(tmp_path):
    images = pixels(3, 96, 96, 3)
    camelyon(tmp_path, "train", images[:2], [1, 0])
    camelyon(tmp_path, "valid", images[2:], [1])
    found = load("patchcamelyon", tmp_path, "train")
    assert found.truth == [1, 0, 1]
    assert (found.images[2].make() == images[2]).all()


def test_hdf5_file_that_is_none_is_rejected(tmp_path):
    for kind in "xy":
        write(tmp_path / f"camelyonpatch_level_2_split_test_{kind}.h5", b"gzip?")
    with pytest.raises(InputError, match="expected an HDF5 file with 'x'"):
        load("patchcamelyon", tmp_path)


def test_zeroshot_reads_the_images_of_an_array(tmp_path, tiny):
    images = pixels(3, 32, 32, 3)
    cifar(tmp_path / "test_batch.bin", images, [0, 1, 2])
    write(tmp_path / "batches.meta.txt", NAMES10)
    found = load("cifar10", tmp_path).images
    assert (tiny.encode_image(found) == tiny.encode_image(list(images))).all()
