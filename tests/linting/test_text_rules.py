"""Rules about the text of labels, each with a case and a near miss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zeroshot
from zeroshot import Problem

WORDS = st.text("bcdfghjklmnpqrtvwxz", min_size=1, max_size=12)  # no plural, accent or case


def found(labels: Any, kind: str, prompts: str = "{}") -> list[Problem]:
    return [problem for problem in zeroshot.lint(labels, prompts) if problem.kind == kind]


def concerned(labels: Any, kind: str) -> list[tuple[str, ...]]:
    return [problem.labels for problem in found(labels, kind)]


@pytest.mark.parametrize(
    ("kind", "level", "labels", "expected"),
    [
        ("empty", "error", ["cat", " "], [(" ",)]),
        ("empty", "error", {"cat": ["cat", ""]}, [("cat",)]),
        ("empty", "error", {"cat": []}, [("cat",)]),
        ("empty", "error", [], [()]),
        ("control characters", "error", ["cat", "d\0g"], [("d\0g",)]),
        ("equal", "error", ["cat", "dog", "cat"], [("cat", "cat")]),
        ("equal", "error", ["Cat", "dog", "cats", "CÁT"], [("Cat", "cats", "CÁT")]),
        ("equal", "error", ["red_panda", "red panda"], [("red_panda", "red panda")]),
        ("equal", "error", ["a&amp;b", "a&b"], [("a&amp;b", "a&b")]),  # equal tokens
        ("equal", "error", {"pet": ["cat", "dog"], "animal": ["dogs", "cat"]}, [("pet", "animal")]),
        ("shared name", "warning", {"pet": ["cat", "dog"], "cat": "cats"}, [("pet", "cat")]),
        ("contained", "warning", ["panda", "red panda"], [("panda", "red panda")]),
        ("contained", "warning", ["car", "cars parked"], [("car", "cars parked")]),
        ("group", "warning", {"bird": {"bird": "bird", "wren": "wren"}}, [("bird",)]),
        ("group", "warning", {"dog": {"poodle": "poodle"}, "pet": {"Dogs": "dog"}}, [("Dogs",)]),
        ("underscore", "warning", ["fire_truck", "car"], [("fire_truck",)]),
        ("digits", "warning", ["dog1", "2cats", "class 3"], [("dog1", "2cats")]),
        ("capitals", "warning", ["TAXI", "RED TRUCK", "car"], [("TAXI", "RED TRUCK")]),
        ("file extension", "warning", ["cat.JPG", "dog"], [("cat.JPG",)]),
        ("long", "warning", ["one two three four five six seven eight nine"], None),
        ("no negative", "warning", ["cat", "dog"], [("cat", "dog")]),
        ("no negative", "note", ["cat", "dog", "bird"], [()]),
        ("senses", "note", ["crane", "wren"], [("crane",)]),
        ("senses", "note", {"animal": ["Mice", "bats"]}, [("animal",)]),
    ],
)
def test_a_rule_finds_its_case(
    kind: str, level: str, labels: Any, expected: list[tuple[str, ...]] | None
) -> None:
    problems = found(labels, kind)

    assert {problem.level for problem in problems} == {level}
    assert expected is None or [problem.labels for problem in problems] == expected
    assert all(problem.message and problem.suggestion for problem in problems)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("empty", ["cat", "a", "?", "猫", "🐈"]),
        ("control characters", ["cat\tdog", "e\u0301"]),
        ("equal", ["cat", "cap", "glass", "glasses", "sunglass", "sunglasses", "c at"]),
        ("equal", {"pet": ["cat", "dog"], "animal": ["dog", "cat", "fox"]}),
        ("shared name", {"pet": ["cat", "dog"], "wild": ["fox", "cat shark"]}),
        ("shared name", {"cat": ["cat", "cats"], "dog": "dog"}),
        ("contained", ["pan", "panda", "cat", "caterpillar", "Guinea", "Guinea-Bissau"]),
        ("contained", {"crane": ["crane", "sandhill crane"], "wren": "wren"}),
        ("contained", ["red car", "car red", "red fast car"]),
        ("group", {"bird": {"wren": "wren", "blackbird": "blackbird"}}),
        ("underscore", ["red panda", "T-shirt", " car "]),
        ("digits", ["Boeing 747", "A320", "mp3 player", "3D", "4th of July", "B-52", "20mm lens"]),
        ("capitals", ["TV", "USA", "BMX bike", "McLaren", "SUV 2000", "猫"]),
        ("file extension", ["U.S. flag", "node.js", "jpg", ".5"]),
        ("long", ["one two three four five six seven eight"]),
        ("no negative", ["cat", "none of these"]),
        ("no negative", ["cat", "Other animal", "bird"]),
        ("no negative", []),
        ("senses", ["crane (bird)", "construction crane", "dog", "cranefly"]),
        ("senses", {"crane": ["crane", "sandhill crane"]}),
    ],
)
def test_a_rule_does_not_find_a_near_miss(kind: str, labels: Any) -> None:
    assert found(labels, kind) == []


def test_suggestions_are_corrected_labels() -> None:
    labels = ["fire_truck", "dog1", "TAXI", "cat.jpg", "crane"]

    suggestions = "\n".join(problem.suggestion for problem in zeroshot.lint(labels))

    for corrected in ("'fire truck'", "'dog 1'", "'taxi'", "'cat'", "'crane (bird)'"):
        assert corrected in suggestions


def test_a_name_within_several_labels_is_one_problem() -> None:
    labels = ["red panda", "panda", "giant panda"]

    assert concerned(labels, "contained") == [("panda", "red panda", "giant panda")]


@given(st.lists(st.text(), max_size=6))
def test_no_text_raises(labels: list[str]) -> None:
    problems = zeroshot.lint(labels, "photo")

    assert [p.level for p in problems] == sorted((p.level for p in problems), key=LEVELS.index)


@given(st.recursive(st.lists(st.text()), lambda trees: st.dictionaries(st.text(), trees)))
def test_no_tree_raises(labels: Any) -> None:
    zeroshot.lint(labels)


@given(st.lists(WORDS, unique=True))
def test_labels_that_differ_are_not_equal(labels: list[str]) -> None:
    assert concerned(labels, "equal") == []


@given(st.lists(WORDS, unique=True, min_size=1), st.integers(0, 3))
def test_labels_that_differ_in_spelling_only_are_equal(labels: list[str], how: int) -> None:
    change = [str.upper, lambda text: f"_{text} ", lambda text: f"{text}̈", str.title][how]
    changed = change(labels[0])

    problems = concerned([*labels, changed], "equal")

    assert problems == [(labels[0], changed)]


LEVELS = ["error", "warning", "note"]
