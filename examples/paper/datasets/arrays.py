"""Read data sets that store all images in one file as numbers; each is made when it is read.

The Python versions of CIFAR are pickles, which can run code. Only the binary versions are read.
"""

from __future__ import annotations

import csv
import gzip
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import (
    Picture,
    check_split,
    find,
    lines,
    number,
    package,
    root,
)
from examples.paper.datasets.names import FER2013, Names, labels
from zeroshot.errors import InputError, shortened

CIFAR = (3, 32, 32)  # planes R, G, B; rows
STL10 = (3, 96, 96)  # planes R, G, B; columns
IDX_IMAGES, IDX_LABELS = 2051, 2049  # first number of MNIST's files
LARGEST_IDX = 16 + 60_000 * 28 * 28  # bytes of the training images, the largest of the files
FACE = 48  # pixels of an edge in FER2013


def cifar10(folder: Path, split: str) -> DataSet:
    """Read the binary version of CIFAR-10: records of a label and 3,072 bytes.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html
    """
    check_split(split)
    base = root(folder, "cifar-10-batches-bin")
    _refuse_pickles(folder, base, "test_batch", "cifar-10-binary.tar.gz")
    batches = ["test_batch"] if split == "test" else [f"data_batch_{n}" for n in range(1, 6)]
    files = [find(base, f"{batch}.bin") for batch in batches]
    names = Names("cifar10", find(base, "batches.meta.txt"))
    names.check_order(lines(base / "batches.meta.txt"))
    return _cifar(files, names.labels, leading=1)


def cifar100(folder: Path, split: str) -> DataSet:
    """Read the binary version of CIFAR-100: coarse label, fine label and 3,072 bytes.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html
    """
    check_split(split)
    base = root(folder, "cifar-100-binary")
    _refuse_pickles(folder, base, "test", "cifar-100-binary.tar.gz")
    file = find(base, f"{split}.bin")
    names = Names("cifar100", find(base, "fine_label_names.txt"))
    names.check_order(lines(base / "fine_label_names.txt"))
    return _cifar([file], names.labels, leading=2)


def _refuse_pickles(folder: Path, base: Path, pickled: str, archive: str) -> None:
    """Raise InputError for the Python version, which has the file without the suffix .bin."""
    for place in (base, *folder.glob("cifar-10*-py*")):
        if (place / pickled).is_file() and not (place / f"{pickled}.bin").exists():
            raise InputError(
                f"{place} is the Python version, whose files are pickles and can run code; "
                f"download the binary version, {archive}, from "
                "https://www.cs.toronto.edu/~kriz/cifar.html"
            )


def _cifar(files: Sequence[Path], names: tuple[str, ...], leading: int) -> DataSet:
    size = leading + int(np.prod(CIFAR))
    parts = [_records(file, size) for file in files]
    starts = np.cumsum([0, *(len(part) for part in parts)])
    truth = [
        _in_range(int(record), file, len(names))
        for file, part in zip(files, parts, strict=True)
        for record in part[:, leading - 1]
    ]

    def decode(position: int) -> NDArray[np.uint8]:
        part = int(np.searchsorted(starts, position, side="right")) - 1
        record = parts[part][position - starts[part]]
        return _interleave(record[leading:].reshape(CIFAR))

    keys = [f"{f.name}/{n}" for f, part in zip(files, parts, strict=True) for n in range(len(part))]
    return DataSet(_pictures(keys, decode), truth, names)


def _records(file: Path, size: int) -> NDArray[np.uint8]:
    """Map a file of records of equal size: uint8 [n, size], read when indexed."""
    length = file.stat().st_size
    if not length or length % size:
        raise InputError(
            f"{file}: expected records of {size} bytes, got {length} bytes; download it again"
        )
    return np.memmap(file, np.uint8, "r").reshape(-1, size)


def _interleave(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert [3, h, w] to [h, w, 3] in memory of its own."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _in_range(value: int, file: Path, limit: int, start: int = 0) -> int:
    return number(str(value), file, limit, start=start)


def stl10(folder: Path, split: str) -> DataSet:
    """Read STL-10: test_X.bin has planes whose numbers are stored column by column.

    Labels are 1 to 10. Source: https://cs.stanford.edu/~acoates/stl10/
    """
    check_split(split)
    base = root(folder, "stl10_binary")
    file, answers = find(base, f"{split}_X.bin"), find(base, f"{split}_y.bin")
    names = Names("stl10", find(base, "class_names.txt"))
    names.check_order(lines(base / "class_names.txt"))
    records = _records(file, int(np.prod(STL10)))
    values = np.fromfile(answers, np.uint8).tolist()
    _check_count(file, len(records), answers, len(values))
    truth = [_in_range(value, answers, len(names.labels), start=1) for value in values]

    def decode(position: int) -> NDArray[np.uint8]:
        columns = records[position].reshape(STL10)  # [3, width, height]
        return _interleave(columns.transpose(0, 2, 1))

    return DataSet(_pictures(_keys(file, len(records)), decode), truth, names.labels)


def _pictures(keys: Iterable[str], decode: Callable[[int], NDArray[np.uint8]]) -> list[Picture]:
    """Return an image for each name; `decode` returns the one at a position."""
    return [Picture(key, partial(decode, n)) for n, key in enumerate(keys)]


def _keys(file: Path, count: int) -> list[str]:
    return [f"{file.name}/{n}" for n in range(count)]


def _check_count(file: Path, images: int, answers: Path, truths: int) -> None:
    if images != truths:
        raise InputError(
            f"{file}: expected as many images as {answers.name} has labels, got {images} and "
            f"{truths}; download both again"
        )


def mnist(folder: Path, split: str) -> DataSet:
    """Read MNIST's IDX files, compressed or not; a compressed file is unpacked in memory (47 MB).

    Source: http://yann.lecun.com/exdb/mnist/
    """
    check_split(split)
    base = root(folder, "MNIST", "raw")
    start = "t10k" if split == "test" else "train"
    images, answers = _idx_file(base, f"{start}-images", 3), _idx_file(base, f"{start}-labels", 1)
    pixels, values = _idx(images, IDX_IMAGES, 3), _idx(answers, IDX_LABELS, 1).tolist()
    _check_count(images, len(pixels), answers, len(values))
    truth = [_in_range(value, answers, 10) for value in values]
    return DataSet(
        _pictures(_keys(images, len(pixels)), lambda n: pixels[n]), truth, labels("mnist")
    )


def _idx_file(base: Path, name: str, dimensions: int) -> Path:
    kind = f"idx{dimensions}-ubyte"
    return find(base, f"{name}-{kind}.gz", f"{name}-{kind}", f"{name}.{kind}")


def _idx(file: Path, magic: int, dimensions: int) -> NDArray[np.uint8]:
    """Return the numbers of an IDX file: uint8 with the shape in its header."""
    try:
        if file.suffix == ".gz":
            with gzip.open(file) as stream:
                content: Any = np.frombuffer(stream.read(LARGEST_IDX), np.uint8)
        else:
            content = np.memmap(file, np.uint8, "r")
        found, *shape = struct.unpack_from(f">{1 + dimensions}I", content)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise InputError(
            f"{file}: not a complete IDX file ({shortened(str(error), 100)}); download it again"
        ) from error
    values = content[4 + 4 * dimensions :]
    if found != magic or values.size != math.prod(shape):
        raise InputError(
            f"{file}: expected an IDX file {magic} of {math.prod(shape)} bytes after the "
            f"header, got {found} and {values.size}; download it again"
        )
    return np.asarray(values).reshape(shape)


def fer2013(folder: Path, split: str) -> DataSet:
    """Read fer2013.csv or icml_face_data.csv: rows of a number, 48 x 48 gray values and a usage.

    "test" is the usage PrivateTest, "train" are Training and PublicTest.
    """
    check_split(split)
    file = find(folder, "icml_face_data.csv", "fer2013.csv", "fer2013/fer2013.csv")
    usages = {"PrivateTest"} if split == "test" else {"Training", "PublicTest"}
    names = Names("fer2013", file)
    listed = list(FER2013)
    places: list[int] = []
    truth: list[int] = []
    with file.open("rb") as stream:
        header = [name.strip() for name in _row(stream.readline(), file)]
        if sorted(header) != ["Usage", "emotion", "pixels"]:
            raise InputError(
                f"{file}: expected the columns emotion, pixels and Usage, got "
                f"{shortened(repr(header))}; download it again"
            )
        emotion, pixels, usage = (header.index(n) for n in ("emotion", "pixels", "Usage"))
        while line := stream.readline():
            row = _row(line, file)
            if len(row) == len(header) and row[usage].strip() in usages:
                places.append(stream.tell() - len(line))
                truth.append(names.column(listed[number(row[emotion], file, len(listed))]))

    def decode(position: int) -> NDArray[np.uint8]:
        with file.open("rb") as stream:
            stream.seek(places[position])
            return _face(_row(stream.readline(), file)[pixels], file)

    keys = [f"{file.name}/{place}" for place in places]
    return DataSet(_pictures(keys, decode), truth, names.labels)


def _row(line: bytes, file: Path) -> list[str]:
    try:
        return next(csv.reader([line.decode("ascii")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{file}: expected a CSV file ({shortened(str(error), 100)}); download it again"
        ) from error


def _face(text: str, file: Path) -> NDArray[np.uint8]:
    try:
        return np.array([int(value) for value in text.split()], np.uint8).reshape(FACE, FACE)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{file}: expected {FACE * FACE} gray values of 0..255 in a row "
            f"({shortened(str(error), 100)}); download it again"
        ) from error


def patchcamelyon(folder: Path, split: str) -> DataSet:
    """Read PatchCamelyon's HDF5 files: `x` is uint8 [n, 96, 96, 3], `y` is [n, 1, 1, 1].

    "train" are the 294,912 images of the published training and validation sets.
    Source: https://github.com/basveeling/pcam
    """
    check_split(split)
    parts = ("test",) if split == "test" else ("train", "valid")
    stem = "camelyonpatch_level_2_split"
    pairs = [[find(folder, f"{stem}_{part}_{kind}.h5") for kind in "xy"] for part in parts]
    stores = [_hdf5(x, "x") for x, _ in pairs]
    places: list[tuple[int, int]] = []
    truth: list[int] = []
    known = labels("patchcamelyon")
    for n, (x, y) in enumerate(pairs):
        values = np.asarray(_hdf5(y, "y")[...]).ravel().tolist()
        _check_count(x, len(stores[n]), y, len(values))
        places += [(n, row) for row in range(len(values))]
        truth += [_in_range(value, y, len(known)) for value in values]

    def decode(position: int) -> NDArray[np.uint8]:
        store, row = places[position]
        return np.asarray(stores[store][row])

    keys = [f"{pairs[store][0].name}/{row}" for store, row in places]
    return DataSet(_pictures(keys, decode), truth, known)


def _hdf5(file: Path, name: str) -> Any:
    """Return a data set of an HDF5 file, which is read when it is indexed."""
    h5py = package("h5py", "h5py", file.name)
    try:
        return h5py.File(file, "r")[name]
    except (OSError, KeyError) as error:
        raise InputError(
            f"{file}: expected an HDF5 file with {name!r} ({shortened(str(error), 100)}); "
            "download it again"
        ) from error
