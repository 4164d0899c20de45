"""`zeroshot.lint` runs all rules, and the shipped sets have no errors."""

from __future__ import annotations

from typing import Any

import pytest

import zeroshot
from zeroshot.errors import InputError, LabelError, PromptError


def labels_of(name: str) -> Any:
    try:
        return zeroshot.prompts.labels(name)
    except PromptError:
        return ["cat", "dog", "bird"]


@pytest.mark.parametrize("name", zeroshot.prompts.available())
def test_a_shipped_set_has_no_errors(name: str) -> None:
    problems = zeroshot.lint(labels_of(name), name)

    assert [problem for problem in problems if problem.level == "error"] == []


def test_what_is_found_in_shipped_sets_is_right() -> None:
    labels = zeroshot.prompts.labels("imagenet")
    found = {(p.kind, p.labels[:2]) for p in zeroshot.lint(labels, "imagenet") if p.labels}

    assert ("contained", ("leopard", "snow leopard")) in found
    assert ("senses", ("screwdriver",)) in found
    repeated = next(labels for kind, labels in found if kind == "repeated")
    assert repeated == ("toy terrier", "Toy Poodle")  # "a toy toy terrier"


def test_good_labels_have_no_errors_and_warnings() -> None:
    problems = zeroshot.lint(["cat", "dog", "red panda", "fire truck", "none of these"])

    assert problems == []


def test_problems_are_sorted_by_level() -> None:
    labels = ["crane", "red_panda", "panda", "Cat", "cats"]

    levels = [problem.level for problem in zeroshot.lint(labels)]

    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert set(levels) == {"error", "warning", "note"}


def test_labels_that_a_head_rejects_are_errors(tiny: zeroshot.Model) -> None:
    for labels in (["Cat", "cat"], ["", "a"], ["a\0", "b"], [], ["cat " * 80, "dog"]):
        with pytest.raises(zeroshot.ZeroshotError):
            tiny.head(labels)
        assert any(problem.level == "error" for problem in zeroshot.lint(labels))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("cat",), LabelError, "expected a list of labels"),
        ((["cat"], "no such set"), PromptError, "expected a template with one {}"),
        ((["cat"], "{} {}"), PromptError, "exactly one"),
    ],
)
def test_invalid_arguments_raise(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        zeroshot.lint(*arguments)


def test_a_model_that_is_not_loaded_raises() -> None:
    with pytest.raises(InputError, match=r"expected model to be a Model, got str 'mini'; load it"):
        zeroshot.lint(["cat", "dog"], model="mini")  # type: ignore[arg-type]


def test_the_tokens_are_counted_by_the_tokenizer_of_the_model(tiny: zeroshot.Model) -> None:
    # the vocabulary of the tiny model has 2,000 merges, so words have more tokens
    name = "hippopotamus " * 20

    assert [p.kind for p in zeroshot.lint([name], "{}", model=tiny) if p.level == "error"] == (
        ["tokens"]
    )
    assert "tokens" not in [p.kind for p in zeroshot.lint([name], "{}")]
