"""A problem prints its level, message and suggestion."""

from __future__ import annotations

from zeroshot.linting.problems import Problem, quoted


def test_a_problem_is_printed_as_one_sentence() -> None:
    problem = Problem("error", "empty", ("",), "'': no text", "remove it")

    assert str(problem) == "error: '': no text; remove it"


def test_texts_beyond_the_first_few_are_counted() -> None:
    assert quoted(["a", "b"]) == "'a', 'b'"
    assert quoted("abcdefg", shown=2) == "'a', 'b' and 5 more"
    assert len(quoted(["a" * 1000])) < 100
