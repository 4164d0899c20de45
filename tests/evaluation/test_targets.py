"""The truth of images is a label, a column number or a WordNet id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import axes_classifier
from zeroshot.answering import Answering
from zeroshot.errors import InputError
from zeroshot.evaluation import targets
from zeroshot.images import Sample

LABELS = ("cat", "dog", "golden retriever", "Käfer")


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (["dog", "cat"], [1, 0]),
        ([1, np.int64(0)], [1, 0]),
        (np.array([3, 2]), [3, 2]),
        (torch.tensor([3, 2]), [3, 2]),
        (np.array(["dog", "Käfer"]), [1, 3]),
        (["golden_retriever", "Golden  Retriever"], [2, 2]),
        (["Ka\u0308fer"], [3]),
        (["2", "0"], [2, 0]),
        ([], []),
    ],
)
def test_names_and_numbers_are_found(truth: Any, expected: list[int]) -> None:
    listed = targets.listed(truth)

    assert targets.columns(listed, LABELS).tolist() == expected


def test_an_exact_label_precedes_one_of_another_case() -> None:
    assert targets.columns(["Cat", "cat"], ("cat", "Cat")).tolist() == [1, 0]


def test_text_that_fits_two_labels_is_rejected() -> None:
    with pytest.raises(InputError, match="'CAT' is not among the 2 labels"):
        targets.columns(["CAT"], ("cat", "Cat"))


def test_digits_are_a_label_if_labels_are_digits() -> None:
    digits = ("7", "8", "9")

    assert targets.columns(["9"], digits).tolist() == [2]
    with pytest.raises(InputError, match="'0' is not among"):
        targets.columns(["0"], digits)


@pytest.mark.parametrize("number", [1, np.int64(3), 0])
def test_a_number_that_may_be_a_label_or_a_column_is_rejected(number: Any) -> None:
    message = rf"{number} is ambiguous.* the label '{number}' or column {number}, which is '"

    with pytest.raises(InputError, match=message):
        targets.columns([number], ("1", "2", "3", "4"))
    # the label is the column, as of handwritten digits; a matrix has columns only
    assert targets.columns([number], ("0", "1", "2", "3")).tolist() == [number]
    head = axes_classifier(["1", "2"]).head
    assert targets.resolve(np.eye(2, dtype=int), head).tolist() == [[True, False], [False, True]]


def test_a_wordnet_id_is_found_by_its_label() -> None:
    assert targets.columns(["n01440764"], ("goldfish", "tench")).tolist() == [1]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (["cat", "dgo"], r"truth\[1\]: 'dgo' is not among the 4 labels; did you mean 'dog'\?"),
        (
            ["zzzzzz"],
            r"'zzzzzz' is not among the 4 labels; use one of them, or a column number. Labels: "
            r"'cat', 'dog', 'golden retriever', 'Käfer'",
        ),
        (["1" * 5000], r"column number within 0\.\.3, got '?1111"),
        ([10**5000], r"column number within 0\.\.3, got one of 16610 bits"),
        (["n01440764"], "'n01440764' is not among"),
        ([4], r"column number within 0\.\.3, got 4"),
        ([-1], r"column number within 0\.\.3, got -1"),
        (["4"], r"column number within 0\.\.3, got 4"),
        ([True], "got True of type bool"),
        ([1.0], "got 1.0 of type float"),
        ([None], r"truth\[0\]: None means none of the labels, which this classifier does not"),
    ],
)
def test_a_truth_that_is_no_label_is_rejected(truth: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        targets.columns(truth, LABELS)
    assert len(str(caught.value)) < 600


def test_an_error_names_the_image_of_the_truth() -> None:
    head = axes_classifier(["cat", "dog"]).head
    for images in (["a.jpg", Path("b/c.jpg")], [b"", Sample("b/c.jpg", b"")]):
        for truth in (["cat", "bee"], ["cat", None], [["cat"], ["bee"]]):
            with pytest.raises(InputError, match=r"^b/c.jpg \(truth\[1\]\): "):
                targets.resolve(truth, head, images=images)
    for unnamed in ([b"", b""], iter(["a.jpg", "b/c.jpg"]), None):
        with pytest.raises(InputError, match=r"^truth\[1\]: "):
            targets.resolve(["cat", "bee"], head, images=unnamed)


def test_a_long_hostile_truth_is_shortened_in_the_error() -> None:
    labels = ["y" * 5000, *(str(n) + "z" * 90 for n in range(9))]
    with pytest.raises(InputError) as caught:
        targets.columns(["x\n" * 5000], labels, images=["p" * 5000])
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("truth", ["cat", b"cat", 5, None])
def test_a_truth_that_is_no_list_is_rejected(truth: object) -> None:
    with pytest.raises(InputError, match="expected truth to be a list"):
        targets.listed(truth)


def test_lists_of_labels_are_a_matrix() -> None:
    truth = [["cat", 3], [], {"dog"}, ("Käfer",)]

    assert targets.is_multilabel(truth)
    found = targets.memberships(truth, LABELS)
    assert found.astype(int).tolist() == [[1, 0, 0, 1], [0] * 4, [0, 1, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("matrix", [np.array([[1, 0, 0, 1]]), torch.tensor([[True, False] * 2])])
def test_a_matrix_of_zeros_and_ones_is_a_truth(matrix: Any) -> None:
    targets.check_matrix(matrix, 4)
    found = targets.memberships(targets.listed(matrix), LABELS)

    assert np.array_equal(found, np.asarray(matrix).astype(bool))


def test_matrices_of_other_values_or_widths_are_rejected() -> None:
    with pytest.raises(InputError, match="of 0 and 1, got other values"):
        targets.listed(np.array([[0, 2]]))
    with pytest.raises(InputError, match=r"4 columns, one per label, got shape \(1, 2\)"):
        targets.check_matrix(np.array([[0, 1]]), 4)


def test_single_labels_and_lists_cannot_be_mixed() -> None:
    with pytest.raises(InputError, match=r"got 'cat' and \['dog'\] \(truth\[1\]\)"):
        targets.is_multilabel(["cat", ["dog"]])
    assert not targets.is_multilabel([])


def test_none_is_the_column_of_none_of_these() -> None:
    truth = [None, "cat", "none of these", "None_of_these", 1]

    assert targets.columns(truth, ["cat"], none=1).tolist() == [1, 0, 1, 1, 1]
    # a label of that name is another column
    assert targets.columns([None, "none of these"], ["none of these"], none=1).tolist() == [1, 0]


def test_a_threshold_makes_none_a_truth() -> None:
    head = axes_classifier(["cat", "dog"]).head
    below = Answering("below", 0.7, 0.7, "")

    assert targets.resolve(["dog", None, "none of these"], head, below).tolist() == [1, 2, 2]
    with pytest.raises(InputError, match="--none; for --head, save the head with `zeroshot cl"):
        targets.resolve([None], head)


def test_truth_is_named_as_calibrate_expects_it() -> None:
    head = axes_classifier(["red car", "b"]).head

    assert targets.named(["Red_Car", 1, "b"], head) == ["red car", "b", "b"]
    assert targets.named([["b", 0], []], head) == [["red car", "b"], []]
    with pytest.raises(InputError, match="None means none of the labels"):
        targets.named([None], head)


def test_images_of_none_of_the_labels_have_the_column_that_is_given() -> None:
    assert targets.columns(["dog", None, 0], LABELS, none=-1).tolist() == [1, -1, 0]
    assert targets.columns([None], ("a", "none of these"), none=-1).tolist() == [-1]
