"""Turn images into rows of the table, in order, a batch at a time.

An image that cannot be read or classified becomes a row with an error; nothing else stops the
stream but an error of the source itself, or of a device that does not work.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from torch import Tensor

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import HASH, LONGEST_ERROR, Row
from zeroshot.bulk.sizes import read_size
from zeroshot.classifier import TOP, Classifier
from zeroshot.embedding import get_decoder, get_loader, stack_equal
from zeroshot.errors import DeviceError, ImageError, NonFiniteError, shortened
from zeroshot.images import Sample
from zeroshot.scoring import rank

KINDS: tuple[tuple[type[BaseException], str], ...] = (  # of errors that are no ImageError
    (FileNotFoundError, "not_found"),
    (PermissionError, "permission"),
    (TimeoutError, "timeout"),
    (OSError, "io"),
    (MemoryError, "oom"),
    (NonFiniteError, "bad_values"),
)

Mark = TypeVar("Mark")


@dataclass(frozen=True)
class RowOptions:
    """What a row contains, and how images are distributed over batches."""

    top: int = TOP  # labels in the ranking, at most
    embeddings: bool = False
    scores: bool = False  # of all labels
    batch_size: int | None = None
    workers: int | None = None


def label_items(
    classifier: Classifier, items: Iterable[tuple[int, Item]], options: RowOptions | None = None
) -> Iterator[Row]:
    """Return the row of each item, in order; `items` are pairs of row number and item.

    Items are read and decoded in threads, ahead of their use. An exception of `Item.read`, of the
    decoder and of the network becomes the error of the row.

    Args:
        classifier: What labels the images.
        items: Numbers of rows, and images.
        options: Contents of the rows; None for labels only.

    Raises:
        DeviceError: The device cannot be used, other than for the size of an image.

    Example:
        >>> from pathlib import Path
        >>> from zeroshot.bulk.items import Item
        >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
        >>> cat = Item("cat.jpg", Path("cat.jpg").read_bytes)
        >>> [row.label for row in label_items(classifier, [(0, cat)])]
        ['cat']
    """
    return cast(Iterator[Row], label_marked(classifier, items, options or RowOptions()))


def label_marked(
    classifier: Classifier, items: Iterable[tuple[int, Item] | Mark], options: RowOptions
) -> Iterator[Row | Mark]:
    """Return what `label_items` does, and pass everything that is no pair on in its place."""
    labeler = _Labeler(classifier, options)
    batches = classifier.encoder.map_batches(
        labeler.prepare,
        labeler.encode,
        items,
        batch_size=options.batch_size,
        workers=options.workers,
    )
    try:
        for batch in batches:
            yield from batch
    finally:
        if hasattr(batches, "close"):  # the traceback of an error would keep its threads alive
            batches.close()


class _Labeler:
    """The two stages of `label_items`; both run in threads."""

    def __init__(self, classifier: Classifier, options: RowOptions) -> None:
        self._head = classifier.head
        self._answers = classifier.answers
        self._embedder = classifier._embedder
        self._options = options
        self._load = get_loader(self._embedder)
        self._decode = get_decoder(self._embedder)

    def prepare(self, numbered: Any) -> tuple[Any, Any]:
        """Read and decode one image; return its row, and its pixels or an exception."""
        if type(numbered) is not tuple:
            return numbered, None
        number, item = numbered
        row = Row(number, item.name, kept=item.kept)
        try:
            image = item.read()
            if isinstance(image, bytes):
                row.bytes = len(image)
                row.hash = hashlib.blake2b(image, digest_size=HASH).digest()
            values = self._load(Sample(item.name, image))
            row.width, row.height = read_size(image)
        except Exception as error:
            return row, error
        return row, values

    def encode(self, batch: list[tuple[Any, Any]]) -> list[Any]:
        """Decode what the device decodes, embed, and fill the rows."""
        loaded = self._decode([values for _, values in batch])
        rows, pixels = [], []
        for (row, _), values in zip(batch, loaded, strict=True):
            if isinstance(values, Exception):
                set_error(row, values)
            elif values is not None:
                rows.append(row)
                pixels.append(values)
        if rows:
            self._fill(rows, pixels)
        return [row for row, _ in batch]

    def _fill(self, rows: list[Row], pixels: list[Any]) -> None:
        """Fill the rows of a batch; after an error one by one, to find the image that caused it."""
        try:
            embeddings = self._embedder.encode_pixels(
                stack_equal(pixels), batch_size=self._options.batch_size
            )
        except (NonFiniteError, MemoryError, DeviceError) as error:
            if isinstance(error, DeviceError) and "batch of 1" not in str(error):
                raise
            if len(rows) == 1:
                set_error(rows[0], error)
                return
            for row, values in zip(rows, pixels, strict=True):
                self._fill([row], [values])
            return
        self._answer(rows, embeddings)

    def _answer(self, rows: Sequence[Row], embeddings: Tensor) -> None:
        """Fill the rows from embeddings [n, d], or [n, windows, d]."""
        found = rank(self._head, embeddings, top=self._options.top, answers=self._answers)
        for row, prediction in zip(rows, found, strict=True):
            row.label = prediction.label
            row.probability = prediction.probability
            row.labels, row.probabilities = zip(*prediction.ranking, strict=True)
        if self._options.embeddings:
            whole = embeddings[:, 0] if embeddings.ndim == 3 else embeddings
            for row, values in zip(rows, whole.half().cpu().numpy(), strict=True):
                row.embedding = values
        if self._options.scores:
            scores = self._head.probabilities(self._head.logits(embeddings))
            scores = scores[:, : len(self._head)]
            for row, values in zip(rows, scores.half().cpu().numpy(), strict=True):
                row.scores = values


def set_error(row: Row, error: BaseException) -> None:
    """Make a row that of an image with an error; what is known of its file stays in `bytes`."""
    row.error_kind = kind_of(error)
    row.error = describe_error(error, row.source)
    row.width = row.height = None


def kind_of(error: BaseException) -> str:
    """Return the kind of an error: that of an ImageError, or "io", "oom", "internal", ..."""
    if isinstance(error, ImageError):
        return error.kind
    if isinstance(error, DeviceError):
        return "oom"
    return next((kind for kind_, kind in KINDS if isinstance(error, kind_)), "internal")


def describe_error(error: BaseException, source: str) -> str:
    """Return the text of an error for a row: without its source and without control characters."""
    text = str(error) or type(error).__name__
    text = text.removeprefix(f"{shortened(source, 300)}: ")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        clean = (" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
        text = "".join(clean)
    return text[:LONGEST_ERROR]
