"""Define what a reader of a data set returns, and the row of a data set in the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Metric = Literal["top1", "mean_per_class", "map11", "roc_auc", "mean_top1_top5"]


@dataclass(frozen=True)
class DataSet:
    """Images and the right label of each.

    Attributes:
        images: Paths, or images that are made when they are read.
        truth: The column of each image's label in `labels`; for several labels a list of columns.
        labels: The labels in the order of the prompt set, or of the folder if it has no set.
        ignored: With several labels per image, for each image the columns that do not count: the
            object is in the image, but marked as difficult.
    """

    images: Sequence[Any]
    truth: Sequence[Any]
    labels: tuple[str, ...]
    ignored: Sequence[Sequence[int]] = ()

    @property
    def named(self) -> list[Any]:
        """The label of each image, or a list of labels, as `zeroshot.evaluate` takes them.

        Columns would be ambiguous where labels are numbers, as in CLEVR.
        """
        return [
            [self.labels[column] for column in each]
            if isinstance(each, list)
            else self.labels[each]
            for each in self.truth
        ]


@dataclass(frozen=True)
class Entry:
    """A data set: how to read it, how the paper measures it, and where to get it.

    Attributes:
        read: Takes the folder and one of the splits, and returns the images.
        prompts: Name of the prompt set, with labels and templates.
        metric: What the paper reports (its table 9).
        layout: The files that the folder must contain, as published.
        license: License or terms of the data.
        url: Where to get the data.
        note: How these images differ from those of the paper; empty if they do not.
        splits: The parts that it publishes; "test" is what the paper measures on.
        archive: Folders in each other, from the outer, that the archive creates; the files are in
            FOLDER or, as far as these exist, in them.
    """

    read: Callable[[Path, str], DataSet]
    prompts: str
    metric: Metric
    layout: str
    license: str
    url: str
    note: str = ""
    splits: tuple[str, ...] = ("train", "test")
    archive: tuple[str, ...] = ()
