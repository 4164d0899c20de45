"""Read the data sets whose images contain text: Rendered SST2 and Hateful Memes."""

from __future__ import annotations

from pathlib import Path

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import check_split, find, read_json_lines, root
from examples.paper.datasets.folders import by_class
from examples.paper.datasets.names import labels
from zeroshot.errors import InputError, shortened

# The first release of the data set named the files dev.jsonl and test.jsonl; the annotations of the
# test sets came later.
SEEN = ("dev_seen.jsonl", "dev.jsonl")
MEME_FILES = {
    "train": ("train.jsonl",),
    "test": SEEN,
    "dev_seen": SEEN,
    "dev_unseen": ("dev_unseen.jsonl",),
    "test_seen": ("test_seen.jsonl",),
    "test_unseen": ("test_unseen.jsonl",),
}


def sst2(folder: Path, split: str) -> DataSet:
    """Read Rendered SST2: sentences of reviews as images, positive or negative.

    "test" has 1,821 images. "train" is the published folders train and valid, 6,920 and 872 images;
    "valid" is the latter alone.
    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.RenderedSST2.html
    """
    check_split(split, ("train", "valid", "test"))
    base, known = root(folder, "rendered-sst2"), labels("sst2")
    parts = ("train", "valid") if split == "train" else (split,)
    classes = [
        (find(base, f"{part}/{label}"), column)
        for part in parts
        for column, label in enumerate(known)
    ]
    return by_class(classes, known, base)


def hateful_memes(folder: Path, split: str) -> DataSet:
    """Read Hateful Memes; column 1 is hateful, and the metric is the area under the ROC curve.

    "test" is the seen development set, dev_seen.jsonl: as far as known, the paper measures on it.
    The other published files have their own names as split: "dev_unseen", "test_seen" and
    "test_unseen". Images that are missing in img/ are listed as failures of the evaluation.
    """
    check_split(split, tuple(MEME_FILES))
    base = root(folder, "hateful_memes", "data")
    places = find(base, "img")
    path = find(base, *MEME_FILES[split])
    images, truth = [], []
    for number, row in enumerate(read_json_lines(path), 1):
        label, image = row.get("label"), row.get("img")
        if label not in (0, 1) or not isinstance(image, str):
            raise InputError(
                f"{path}, entry {number}: expected img and label 0 or 1, got "
                f"{shortened(repr(row))}; use a file with labels (test.jsonl of the first release "
                "has none)"
            )
        images.append(places / Path(image).name)
        truth.append(int(label))
    if not images:
        raise InputError(f"{path}: expected memes, got none; download it again")
    return DataSet(images, truth, labels("hatefulmemes"))
