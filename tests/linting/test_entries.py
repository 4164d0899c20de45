"""Labels are read in every form, and no text is rejected."""

from __future__ import annotations

from typing import Any

import pytest

import zeroshot
from zeroshot.errors import LabelError
from zeroshot.linting import entries
from zeroshot.linting.entries import Entry, LabelSet


def label_set(labels: Any, prompts: str = "photo") -> LabelSet:
    read, groups = entries.read(labels)
    return LabelSet(read, groups, zeroshot.prompts.get(prompts), zeroshot.ClipTokenizer())


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["cat", "cat"], [Entry("cat", ("cat",))] * 2),
        (["cat", ["dog", "hound"]], [Entry("cat", ("cat",)), Entry("dog", ("dog", "hound"))]),
        ({"pet": ["cat", "dog"]}, [Entry("pet", ("cat", "dog"))]),
        ({"pet": "cat"}, [Entry("pet", ("cat",))]),
        ({"pet": None}, [Entry("pet", ())]),
        ([[]], [Entry("", ())]),
        ([], []),
        ((label for label in ["", "\0"]), [Entry("", ("",)), Entry("\0", ("\0",))]),
    ],
)
def test_labels_are_read_as_they_are(labels: Any, expected: list[Entry]) -> None:
    assert entries.read(labels) == (expected, [])


def test_a_dict_of_dicts_is_a_tree_of_groups_and_labels() -> None:
    tree = {"bird": {"wren": "wren", "wader": {"crane": ["crane", "heron"]}}, "fish": {}}

    found, groups = entries.read(tree)

    assert [entry.label for entry in found] == ["wren", "crane"]
    assert groups == ["bird", "wader", "fish"]


@pytest.mark.parametrize("labels", ["cat", 5, None, [5], {"cat": 5}, {5: "cat"}, [["cat", 5]]])
def test_labels_that_are_not_text_raise(labels: Any) -> None:
    with pytest.raises(LabelError, match=r"expected|unsupported"):
        entries.read(labels)


def test_too_many_labels_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_LABELS", 2)

    with pytest.raises(LabelError, match="at most 2 labels, got 3"):
        entries.read(["a", "b", "c"])


@pytest.mark.parametrize("spare", [-1, 0, 1, 30])
def test_labels_are_too_long_exactly_if_a_sentence_is(spare: int) -> None:
    # "a close-up photo of a {}." has eight tokens and the full stop
    labels = label_set(["cat", "cat " * (75 - 9 + spare)])
    lengths = [
        max(len(labels.tokenizer.encode(text)) for text in labels.prompts.render(entry.label))
        for entry in labels.entries
    ]

    expected = [e for e, length in zip(labels.entries, lengths, strict=True) if length > 75]
    assert list(labels.too_long) == expected


def test_readable_labels_are_those_that_a_model_embeds() -> None:
    labels = label_set(["cat", "", "\0", "\ufffe", "cat " * 80, "dog", ["bird", ""]])
    expected = [e for e in labels.entries if e.label in ("cat", "dog", "\ufffe")]

    assert [e.label for e in labels.readable] == [e.label for e in expected]
