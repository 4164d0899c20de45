"""Images are embedded with their failures, and scored a part at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import FakeEncoder, axes_classifier, one_hot
from zeroshot import metrics
from zeroshot.answering import Answering
from zeroshot.errors import ImageError, InputError
from zeroshot.evaluation import answers as module
from zeroshot.evaluation.answers import answer, as_embeddings, embed_images, probabilities
from zeroshot.head import Head
from zeroshot.scoring import rank
from zeroshot.vocabulary import Background


def test_images_that_cannot_be_read_keep_their_place(
    encoder: FakeEncoder, photos: list[Path]
) -> None:
    found = embed_images(encoder, [photos[0], "missing.jpg", Image.new("RGB", (4, 4))])

    assert found.images == 3
    assert found.places.tolist() == [0, 2]
    assert found.sources == (str(photos[0]), None)
    assert [failure.source for failure in found.failures] == ["missing.jpg"]
    assert found.rows.shape == (2, 3)


def test_no_readable_image_is_an_error(encoder: FakeEncoder) -> None:
    with pytest.raises(ImageError, match=r"none of 2 images .* first: a\.jpg") as e:
        embed_images(encoder, ["a.jpg", "b.jpg"])
    assert e.value.kind == "not_found"
    with pytest.raises(InputError, match="at least one image, got none"):
        embed_images(encoder, [])


@pytest.mark.parametrize("given", [one_hot([1, 0], 3), torch.eye(3)[:2].half()])
def test_arrays_and_tensors_are_embeddings(given: object) -> None:
    found = as_embeddings(given, 3)

    assert found is not None
    assert found.rows.dtype == torch.float32
    assert found.sources == (None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((2, 3), np.float32), "unit length, got lengths 1.73 to 1.73"),
        (np.full((2, 3), np.nan, np.float32), "unit length, got lengths nan"),
        (np.ones((2, 4), np.float32), r"\[n, 3\], got float32 \(2, 4\)"),
        (np.ones((0, 3), np.float32), "got none"),
        ("cat.jpg", r"got one image 'cat.jpg'; pass \[image\]"),
        (np.ones((4, 4, 3), np.uint8), "got one image"),
    ],
)
def test_other_embeddings_are_rejected(given: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_embeddings(given, 3)


def test_lists_of_images_are_no_embeddings() -> None:
    assert as_embeddings(["a.jpg"], 3) is None
    assert as_embeddings(iter(["a.jpg"]), 3) is None


def test_answers_equal_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 7)
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 9)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    truth = random.integers(0, 9, 50)
    head = axes_classifier([f"l{n}" for n in range(9)], 20.0).head
    embeddings = as_embeddings(rows, 9)
    assert embeddings is not None

    found = answer(head, embeddings, truth)

    whole = metrics.softmax(20.0 * rows)
    assert np.array_equal(found.best, whole.argmax(axis=1))
    for k in (1, 2, 5):
        assert np.array_equal(found.rank < k, metrics.is_in_top(whole, truth, k))
    assert found.confidence == pytest.approx(whole.max(axis=1), abs=1e-6)
    assert found.own == pytest.approx(whole[np.arange(50), truth], abs=1e-6)
    brier = found.squares - 2 * found.own + 1
    assert brier == pytest.approx(metrics.brier_score(whole, truth), abs=1e-6)
    assert probabilities(head, embeddings) == pytest.approx(whole, abs=1e-6)


def test_of_equal_scores_the_first_label_is_the_answer() -> None:
    head = axes_classifier(["a", "b"]).head
    embeddings = as_embeddings(np.full((2, 2), 0.5**0.5, np.float32), 2)
    assert embeddings is not None

    found = answer(head, embeddings, np.array([0, 1]))

    assert found.best.tolist() == [0, 0]
    assert found.rank.tolist() == [0, 1]
    assert found.right.tolist() == [True, False]


def abstaining_head() -> Head:
    """Two labels and a background word, each an axis of the embeddings."""
    word = Background(("w",), torch.eye(3)[2:])
    return replace(axes_classifier(["a", "b"]).head, weight=torch.eye(3)[:2], background=word)


def test_an_image_that_a_word_fits_better_has_no_answer() -> None:
    # best are: a, b, the word, the word, a
    rows = np.array([[0.8, 0.6, 0], [0.6, 0.8, 0], [0.6, 0, 0.8], [0, 0.6, 0.8], [0.8, 0, 0.6]])
    embeddings = as_embeddings(rows.astype(np.float32), 3)
    assert embeddings is not None

    found = answer(abstaining_head(), embeddings, np.array([0, 0, 2, 0, 2]))

    assert found.best.tolist() == [0, 1, 2, 2, 0]
    assert found.right.tolist() == [True, False, True, False, False]
    assert found.is_best_right.tolist() == [True, False, False, False, False]
    # the last image shows none of the labels, and of the labels only a is better than that
    assert found.rank.tolist() == [0, 1, 0, 2, 1]
    p = metrics.softmax(4.0 * rows)  # the word has a column of its own
    assert found.confidence == pytest.approx(p[:, :2].max(axis=1), abs=1e-6)
    assert found.own == pytest.approx(p[np.arange(5), [0, 0, 2, 0, 2]], abs=1e-6)


def test_answers_are_those_of_a_user_with_a_threshold() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    embeddings = as_embeddings(rows, 3)
    assert embeddings is not None
    for head in (abstaining_head(), axes_classifier(["a", "b", "c"]).head):
        below = Answering("below", 0.7, 0.7, "")

        found = answer(head, embeddings, random.integers(0, 2, 60), below)

        shown = rank(head, embeddings.rows, top=1, answers=below)
        columns = [len(head) if e.label is None else head.labels.index(e.label) for e in shown]
        assert found.best.tolist() == columns
        assert 5 < sum(column == len(head) for column in columns) < 55


def test_a_tree_is_evaluated_without_backing_off() -> None:
    embeddings = as_embeddings(one_hot([0], 2), 2)
    assert embeddings is not None

    with pytest.raises(InputError, match=r"got one with answering\(sure=...\)"):
        answer(
            axes_classifier(["a", "b"]).head,
            embeddings,
            np.array([0]),
            Answering("sure", 0.9, 0.9, ""),
        )
