"""Read the data sets whose images contain text: Rendered SST2 and Hateful Memes."""

from __future__ import annotations

from pathlib import Path

from examples.paper.datasets.base import DataSet, Entry
from examples.paper.datasets.layout import (
    check_split,
    first_folder,
    image_files,
    read_json_lines,
)
from zeroshot import prompts
from zeroshot.errors import InputError, shortened

SST2_ARCHIVE = "rendered-sst2.tgz"
MEMES = "hateful_memes.zip"
# The paper's table 9 has 500 test images: the seen development set. The first release of the data
# set named the files dev.jsonl and test.jsonl; the annotations of the test sets came later.
MEME_FILES = {
    "train": ("train.jsonl",),
    "test": ("dev_seen.jsonl", "dev.jsonl"),
    "dev_seen": ("dev_seen.jsonl", "dev.jsonl"),
    "dev_unseen": ("dev_unseen.jsonl",),
    "test_seen": ("test_seen.jsonl",),
    "test_unseen": ("test_unseen.jsonl",),
}


def sst2(folder: Path, split: str) -> DataSet:
    """Read Rendered SST2: sentences of reviews as images, positive or negative.

    "test" has 1,821 images. "train" is the published folders train and valid, 7,792 images, as in
    table 9 of the paper; "valid" alone has 872.
    """
    check_split(split, ("train", "valid", "test"))
    root = first_folder(folder, ("rendered-sst2", "."), SST2_ARCHIVE)
    labels = tuple(prompts.labels("sst2"))
    images: list[Path] = []
    truth: list[int] = []
    for part in ("train", "valid") if split == "train" else (split,):
        for column, label in enumerate(labels):
            found = image_files(first_folder(root, (f"{part}/{label}",), SST2_ARCHIVE))
            images += found
            truth += [column] * len(found)
    if not images:
        raise InputError(f"{root / split}: expected images, got none; extract {SST2_ARCHIVE} there")
    return DataSet(images, truth, labels)


def hateful_memes(folder: Path, split: str) -> DataSet:
    """Read Hateful Memes; column 1 is hateful, and the metric is the area under the ROC curve.

    "test" is the seen development set, 500 images, as in table 9 of the paper. The other published
    files have their own names as split: "dev_unseen", "test_seen" and "test_unseen". Images that
    are missing in img/ are listed as failures of the evaluation.
    """
    check_split(split, tuple(MEME_FILES))
    names = MEME_FILES[split]
    root = first_folder(folder, ("data", "hateful_memes", "."), MEMES)
    first_folder(root, ("img",), MEMES)
    path = next((root / name for name in names if (root / name).is_file()), root / names[0])
    images, truth = [], []
    for number, row in enumerate(read_json_lines(path, MEMES), 1):
        label, image = row.get("label"), row.get("img")
        if label not in (0, 1) or not isinstance(image, str):
            raise InputError(
                f"{path}, entry {number}: expected img and label 0 or 1, got "
                f"{shortened(repr(row))}; use a file with labels (test.jsonl of the first release "
                "has none)"
            )
        images.append(root / "img" / Path(image).name)
        truth.append(int(label))
    if not images:
        raise InputError(f"{path}: expected memes, got none; extract {MEMES} again")
    return DataSet(images, truth, tuple(prompts.labels("hatefulmemes")))


ROWS: dict[str, Entry] = {
    "sst2": Entry(
        read=sst2,
        prompts="sst2",
        metric="top1",
        layout="{train,valid,test}/{negative,positive}/*.png",
        license="no license stated for the images; sentences of the Stanford Sentiment Treebank",
        url="https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md",
    ),
    "hatefulmemes": Entry(
        read=hateful_memes,
        prompts="hatefulmemes",
        metric="roc_auc",
        layout="img/*.png, train.jsonl, dev_seen.jsonl",
        license="Meta's Hateful Memes license, for research only",
        url="https://ai.meta.com/tools/hatefulmemes/",
    ),
}
