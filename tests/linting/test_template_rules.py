"""Rules about labels within templates, each with a case and a near miss."""

from __future__ import annotations

from typing import Any

import pytest

import zeroshot


def concerned(labels: Any, prompts: Any, kind: str) -> list[tuple[str, ...]]:
    return [p.labels for p in zeroshot.lint(labels, prompts) if p.kind == kind]


@pytest.mark.parametrize(
    ("kind", "labels", "prompts", "expected"),
    [
        ("tokens", ["cat", "cat " * 80], "{}", [("cat " * 80,)]),
        ("tokens", ["cat", "dog"], "cat " * 75 + "{}", [("cat", "dog")]),
        ("repeated", ["a", "cat"], "a photo of a {}", [("a",)]),
        ("repeated", ["toy car", "car"], "the toy {}.", [("toy car",)]),
        ("repeated", ["red face", "eye"], "a {} face", [("red face",)]),
        ("repeated", ["photo of a dog", "cat"], "a photo of a {}", [("photo of a dog",)]),
        ("repeated", ["a picture of a dog", "cat"], "a photo of a {}", [("a picture of a dog",)]),
        ("repeated", ["close-up", "good photo of a cat"], "photo", [("good photo of a cat",)]),
        ("article", ["apple", "cat"], "a photo of a {}.", [("apple",)]),
        ("article", ["an apple", "cat"], "a photo of a {}.", [("an apple",)]),
        ("article", ["apple", "cat"], "an {}", [("cat",)]),
        ("article", {"fruit": ["pear", "apple"]}, "photo", [("fruit",)]),
        ("template", ["dog", "cat"], "a {} and a dog", [("dog",)]),
        ("template", ["dogs", "hot dog"], "a hot dog with {}", [("dogs",), ("hot dog",)]),
    ],
)
def test_a_rule_finds_its_case(
    kind: str, labels: Any, prompts: Any, expected: list[tuple[str, ...]]
) -> None:
    assert concerned(labels, prompts, kind) == expected


@pytest.mark.parametrize(
    ("kind", "labels", "prompts"),
    [
        ("tokens", ["cat " * 75], "{}"),
        ("repeated", ["a cat", "the dog"], "a photo of a {}"),  # the article is omitted
        ("repeated", ["bora bora", "toy"], "a photo of a {}"),
        ("repeated", ["photo album", "picture frame", "photographer"], "a photo of a {}"),
        ("repeated", ["photo of a dog"], "{}"),
        ("repeated", ["toyshop"], "the toy {}."),
        ("article", ["cat", "unicorn", "apple"], "a photo of the {}."),
        ("article", ["apple"], "a photo of {}."),
        ("article", ["an apple"], "a photo of {}."),
        ("article", ["apple"], 'a "{}" sign'),
        ("template", ["dog", "cat"], "a photo of a {}, a hotdog"),
        ("template", ["hot dog"], "a hot {} and a dog"),
        ("template", ["of a kind"], "photo"),
    ],
)
def test_a_rule_does_not_find_a_near_miss(kind: str, labels: Any, prompts: Any) -> None:
    assert concerned(labels, prompts, kind) == []


def test_the_message_shows_a_sentence_as_the_model_reads_it() -> None:
    (problem,) = (p for p in zeroshot.lint(["cat", "an apple"]) if p.kind == "article")

    assert "'a photo of a apple.'" in problem.message
    assert "'a photo of {}.'" in problem.suggestion
