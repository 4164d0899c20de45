"""Similar labels are found by a model, whatever the cone of its text embeddings."""

from __future__ import annotations

from typing import Any

import pytest

import zeroshot
from zeroshot.linting import model_rules


@pytest.fixture(scope="module")
def mini() -> zeroshot.Model:
    return zeroshot.load("mini", device="cpu", dtype="float32")


@pytest.fixture(autouse=True)
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_rules, "WORDS", 50)


def concerned(labels: Any, model: zeroshot.Model, kind: str) -> list[tuple[str, ...]]:
    return [p.labels for p in zeroshot.lint(labels, "{}", model=model) if p.kind == kind]


def test_near_synonyms_are_found_and_unlike_labels_are_not(mini: zeroshot.Model) -> None:
    labels = ["sofa", "airplane", "couch", "mushroom"]

    assert concerned(labels, mini, "synonyms") == [("sofa", "couch")]


def test_near_synonyms_that_are_names_of_one_label_are_not_found(mini: zeroshot.Model) -> None:
    labels = {"sofa": ["sofa", "couch"], "airplane": "airplane", "mushroom": "mushroom"}

    assert concerned(labels, mini, "synonyms") == []
    assert concerned(labels, mini, "related") == []


def test_related_labels_are_one_note_with_a_table(mini: zeroshot.Model) -> None:
    problems = zeroshot.lint(["cat", "dog", "airplane"], "{}", model=mini)
    (note,) = (problem for problem in problems if problem.kind == "related")

    assert note.level == "note"
    assert note.labels == ("cat", "dog")
    assert "cat - dog  0." in note.message


def test_labels_that_a_model_cannot_embed_are_left_out(tiny: zeroshot.Model) -> None:
    labels = ["cat", "cat", "", "cat " * 80, "\0", "Cat"]

    kinds = {problem.kind for problem in zeroshot.lint(labels, "{}", model=tiny)}

    assert {"equal", "empty", "tokens", "control characters", "synonyms"} <= kinds


@pytest.mark.parametrize("labels", [[], ["cat"], ["", "cat"]])
def test_fewer_than_two_labels_have_no_pairs(labels: list[str], tiny: zeroshot.Model) -> None:
    assert concerned(labels, tiny, "synonyms") == []


def test_the_table_is_limited(tiny: zeroshot.Model) -> None:
    pairs = [(f"a{i}", f"b{i}", 0.5) for i in range(30)]

    (note,) = model_rules._note_related(pairs)

    assert len(note.message.splitlines()) == model_rules.SHOWN + 2
    assert ": 30\n" in note.message
