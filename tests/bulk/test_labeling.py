"""Rows from images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from tests.bulk.support import Stub, make_classifier, save_images
from tests.support import NAMES, flat, photograph
from zeroshot.bulk.items import Item
from zeroshot.bulk.labeling import RowOptions, describe_error, kind_of, label_items, label_marked
from zeroshot.errors import DeviceError, NonFiniteError, image_error


def items_of(paths: list[Path]) -> list[tuple[int, Item]]:
    return [(n, Item(str(path), path.read_bytes)) for n, path in enumerate(paths)]


def failing(error: Exception) -> Item:
    def read() -> bytes:
        raise error

    return Item("broken.jpg", read, ("kept",))


def test_rows_have_labels_sizes_and_hashes_in_order(tmp_path: Path) -> None:
    paths = save_images(tmp_path, 40)
    rows = list(label_items(make_classifier(), items_of(paths)))

    assert [row.row for row in rows] == list(range(40))
    assert [row.source for row in rows] == [str(path) for path in paths]
    assert [row.label for row in rows[:4]] == ["red", "green", "blue", "red"]
    content = paths[3].read_bytes()
    assert (rows[3].width, rows[3].height, rows[3].bytes) == (11, 8, len(content))
    assert rows[3].hash == hashlib.blake2b(content, digest_size=16).digest()
    assert rows[3].labels is not None
    assert rows[3].labels[0] == "red"
    assert rows[3].probabilities == tuple(sorted(rows[3].probabilities or (), reverse=True))
    assert rows[3].embedding is rows[3].scores is rows[3].error is None


def test_labels_equal_those_of_stream(tiny: zeroshot.Model, photos: list[Path]) -> None:
    classifier = tiny.classifier(["cat", "dog", "bird"])
    rows = list(label_items(classifier, items_of(photos), RowOptions(top=2, embeddings=True)))
    found = list(classifier.stream([str(path) for path in photos], top=2))

    assert [row.label for row in rows] == [each.label for each in found]
    expected = [[p for _, p in each.ranking] for each in found if hasattr(each, "ranking")]
    np.testing.assert_allclose([row.probabilities for row in rows], expected, atol=1e-5)
    embeddings = np.stack([row.embedding for row in rows if row.embedding is not None])
    np.testing.assert_allclose(embeddings, tiny.encode_image(photos).cpu(), atol=1e-3)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(2, "No such file"), "not_found"),
        (PermissionError(13, "denied"), "permission"),
        (TimeoutError("slow"), "timeout"),
        (OSError(5, "Input/output error"), "io"),
        (MemoryError(), "oom"),
        (ValueError("bug"), "internal"),
        (image_error("too_many_pixels", "broken.jpg", "too large"), "too_many_pixels"),
    ],
)
def test_an_error_of_reading_is_a_row_with_its_kind(error: Exception, kind: str) -> None:
    (row,) = label_items(make_classifier(), [(7, failing(error))])

    assert (row.row, row.source, row.error_kind, row.kept) == (7, "broken.jpg", kind, ("kept",))
    assert row.error
    assert row.label is row.labels is row.width is row.hash is None


def test_a_damaged_file_keeps_its_hash_among_good_ones(tmp_path: Path) -> None:
    paths = save_images(tmp_path, 9, broken=[4])
    rows = list(label_items(make_classifier(), items_of(paths)))

    assert [row.error_kind for row in rows] == [None] * 4 + ["not_image"] + [None] * 4
    assert rows[4].bytes == len(b"garbage")
    assert rows[4].hash is not None


def test_error_texts_have_no_source_no_control_characters_and_a_limit() -> None:
    error = image_error("not_image", "a.jpg", "bad \x1b[31m text\n" + "x" * 400)

    text = describe_error(error, "a.jpg")

    assert text.startswith("bad  [31m text ")
    assert len(text) == 300
    assert describe_error(ValueError(), "a") == "ValueError"
    assert kind_of(DeviceError("out of memory")) == "oom"


class Unstable(Stub):
    """Fails for batches with a green image."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def encode_pixels(self, pixels: Any, **options: Any) -> torch.Tensor:
        if (torch.as_tensor(pixels).mean(dim=(2, 3))[:, 1] > 0.5).any():
            raise self.error
        return super().encode_pixels(pixels, **options)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NonFiniteError("NaN", rows=[0]), "bad_values"),
        (DeviceError("out of memory: the device cannot run a batch of 1 image"), "oom"),
        (MemoryError("no memory"), "oom"),
    ],
)
def test_an_error_of_the_network_concerns_only_its_image(error: Exception, kind: str) -> None:
    encoder = Unstable(error)
    classifier = zeroshot.Classifier(encoder, zeroshot.Head.build(encoder, NAMES, "{}"))
    colors = ["red", "green", "blue"]
    items = [(n, Item(c, lambda c=c: flat(c))) for n, c in enumerate(colors)]  # type: ignore[misc]

    rows = list(label_items(classifier, items))

    assert [row.label for row in rows] == ["red", None, "blue"]
    assert rows[1].error_kind == kind


def test_a_device_that_does_not_work_stops_the_stream() -> None:
    encoder = Unstable(DeviceError("CUDA cannot be used in this process"))
    classifier = zeroshot.Classifier(encoder, zeroshot.Head.build(encoder, NAMES, "{}"))

    with pytest.raises(DeviceError):
        list(label_items(classifier, [(0, Item("green", lambda: flat("green")))]))


def test_scores_are_those_of_all_labels_in_order() -> None:
    items = [(0, Item("blue", lambda: flat("blue")))]
    (row,) = label_items(make_classifier(), items, RowOptions(top=1, scores=True))

    assert row.labels == ("blue",)
    assert row.scores is not None
    assert row.scores.dtype == np.float16
    assert row.scores.argmax() == list(NAMES).index("blue")
    assert float(row.scores.sum()) == pytest.approx(1, abs=2e-3)


def test_independent_scores_and_arrays_are_supported(tiny: zeroshot.Model) -> None:
    classifier = tiny.classifier(["cat", "dog"], scores="independent")
    items = [(0, Item("frame", lambda: photograph()))]
    (row,) = label_items(classifier, items, RowOptions(embeddings=True, scores=True))

    assert (row.width, row.height, row.bytes, row.hash) == (61, 47, None, None)
    assert row.embedding is not None
    assert row.embedding.shape == (16,)


def test_marks_keep_their_place_between_rows() -> None:
    work: list[Any] = [(0, Item("red", lambda: flat("red"))), "mark", (1, failing(OSError()))]

    found = list(label_marked(make_classifier(), [*work, "end"], RowOptions()))

    assert [getattr(each, "row", each) for each in found] == [0, "mark", 1, "end"]
