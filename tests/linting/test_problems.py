"""A problem prints its level, message and suggestion."""

from __future__ import annotations

from zeroshot.linting.problems import Problem, quoted, unused_images


def test_a_problem_is_printed_as_one_sentence() -> None:
    problem = Problem("error", "empty", ("",), "'': no text", "remove it")

    assert str(problem) == "error: '': no text; remove it"


def test_texts_beyond_the_first_few_are_counted() -> None:
    assert quoted(["a", "b"]) == "'a', 'b'"
    assert quoted("abcdefg", shown=2) == "'a', 'b' and 5 more"
    assert len(quoted(["a" * 1000])) < 100


def test_unused_images_are_a_note() -> None:
    assert str(unused_images("2 are broken", "replace them")) == "note: 2 are broken; replace them"
