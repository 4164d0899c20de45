"""Read images with known labels: a folder per label, a table, or shards of a benchmark."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroshot import prompts
from zeroshot.errors import InputError, seen_from, shortened, some
from zeroshot.labeling import shards, tables
from zeroshot.labeling.sources import Skipped, walk
from zeroshot.vocabulary import NONE
from zeroshot.wording import fold

if TYPE_CHECKING:
    from zeroshot.images import Sample

SPLITS = {
    "train",
    "val",
    "valid",
    "validation",
    "test",
    "dev",
}  # names of folders that are no label


@dataclass(frozen=True)
class Truth:
    """Images and the truth of each, as `zeroshot.evaluate` takes them."""

    images: Sequence[str | Sample]  # paths, URLs, or images that are read when they are needed
    truth: Sequence[Any]  # a label, a column number, None, or a list of labels, for each image
    labels: Mapping[str, Sequence[str]] | None = None  # that the files name, in order, with names
    prompts: str | tuple[str, ...] | None = None  # a set or templates that belong to the labels
    skipped: Skipped = field(default_factory=Skipped)

    def named(self, labels: Collection[str]) -> Sequence[Any]:
        """Return the truth, its numbers replaced by the names of the data set if those are labels.

        Raises InputError unless other labels are as many, in the order of the numbers.
        """
        own = list(self.labels or ())
        numbered = any(isinstance(each, int | list) for each in self.truth)
        if not own or not numbered:
            return self.truth
        if set(own) <= set(labels):
            return [_names_of(each, own) for each in self.truth]
        if len(labels) != len(own):
            raise InputError(
                f"expected {len(own)} labels in the order of the data set's classes, or labels "
                f"that include their names, got {len(labels)} others; use its own names, such as "
                f"{shortened(repr(own[0]))}"
            )
        return self.truth


def _names_of(truth: Any, names: Sequence[str]) -> Any:
    if isinstance(truth, list):
        return [_names_of(each, names) for each in truth]
    return names[truth] if isinstance(truth, int) and 0 <= truth < len(names) else truth


def read(source: str | os.PathLike[str]) -> Truth:
    """Read a folder with a folder per label, a table of paths and labels, or shards.

    A table is a .csv, .tsv, .json, .jsonl or .parquet file. Shards are the folder of a data set as
    CLIP_benchmark stores it.

    Raises:
        InputError: The source does not exist, is of another kind, or is malformed.
        MissingPackage: A .parquet file requires pyarrow.
    """
    path = Path(source)
    if path.is_dir():
        if shards.is_shards(path):
            found = shards.read(path)
            return Truth(found.images, found.truth, found.labels, found.templates)
        return _read_folder(path)
    if not path.is_file():
        raise InputError(
            f"{shortened(str(path), 300)}: no such file or folder{seen_from(path)}; expected a "
            "folder with a folder per label, or a .csv file with paths and labels"
        )
    table = tables.read(path)
    return Truth(table.images, table.truth, table.labels)


def _read_folder(folder: Path) -> Truth:
    """Read a folder that contains a folder of images for each label, as torchvision does.

    A folder "none of these" has images that show none of the labels.
    """
    names = _label_folders(folder)
    skipped = Skipped()
    images: list[str] = []
    truth: list[str | None] = []
    for name in names:
        found = list(walk([str(folder / name)], skipped))
        images += found
        truth += [None if fold(name) == fold(NONE) else name] * len(found)
    if not images:
        raise InputError(
            f"{folder}: no images in its {len(names)} folders ({shortened(some(names, 4), 100)}); "
            f"expected image files in a folder per label{'; ' + str(skipped) if skipped else ''}"
        )
    for each in sorted(os.listdir(folder)):
        if not each.startswith(".") and not (folder / each).is_dir():
            skipped.add("outside of the label folders", each)
    labels, prompt_set = _labels_of([name for name in names if fold(name) != fold(NONE)])
    return Truth(images, truth, labels, prompt_set, skipped)


def _label_folders(folder: Path) -> list[str]:
    try:
        found = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    names = [name for name in found if not name.startswith(".") and (folder / name).is_dir()]
    if not names:
        raise InputError(
            f"{folder}: expected a folder per label, got a folder without folders; put the images "
            "of each label into a folder with its name, or pass a .csv file"
        )
    if set(map(str.lower, names)) <= SPLITS:
        raise InputError(
            f"{folder}: expected a folder per label, got the splits {some(names)}; pass one of "
            f"them, such as {folder / names[-1]}"
        )
    return names


def _labels_of(names: Sequence[str]) -> tuple[dict[str, list[str]] | None, str | None]:
    """Return the labels that folders name, with the text for prompts, and their prompt set.

    Folders of ImageNet are named by WordNet ids. Numbers name no labels.
    """
    if all(name.isdecimal() for name in names):
        return None, None
    known = prompts.wnids("imagenet")
    if all(name in known for name in names):
        texts = prompts.labels("imagenet")
        chosen = {known[name] for name in names}
        return {label: texts[label] for label in texts if label in chosen}, "imagenet"
    return {name: [" ".join(name.replace("_", " ").split()) or name] for name in names}, None
