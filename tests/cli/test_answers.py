"""Options decide when a classifier answers, and what that promises is printed."""

from __future__ import annotations

from typing import Any

import click
import pytest

from tests.support import axes_classifier
from zeroshot.cli.answers import AnswerChoice, check_answers, note_promise
from zeroshot.predictions import Failure, LabelSet


def test_without_options_the_classifier_stays_as_it_is() -> None:
    classifier = axes_classifier(["a", "b"])

    assert AnswerChoice(False, None, None, None).apply(classifier) is classifier


def test_a_threshold_is_applied_and_what_it_promises_is_printed(capsys: Any) -> None:
    found = AnswerChoice(False, None, None, 0.5).apply(axes_classifier(["a", "b"]))

    assert found.answers is not None
    assert found.answers.kind == "below"
    assert "Images whose best label has less than 50% get no answer." in capsys.readouterr().err


def test_a_head_is_built_with_none_of_these_or_without() -> None:
    check_answers(AnswerChoice(True, None, None, None), None)
    check_answers(AnswerChoice(False, None, None, None), "head.safetensors")
    with pytest.raises(click.UsageError, match="expected --none with --labels, got --head"):
        check_answers(AnswerChoice(True, None, None, None), "head.safetensors")


@pytest.mark.parametrize(
    ("answers", "coverage", "says"),
    [
        ((False, 0.9, None, None), 0.9, "expected either --set or --keep, got both"),
        ((False, None, 0.1, None), 0.9, "expected either --set or --error, got both"),
        ((False, None, None, 0.5), 0.9, "expected either --set or --below, got both"),
        ((False, 1.5, None, None), None, "expected --keep between 0 and 1, got 1.5; for example"),
        ((False, None, None, None), 90.0, "expected --set between 0 and 1, got 90.0"),
        ((False, 0.9, 0.1, None), None, "one of --keep, --error and --below, got --keep, --error"),
    ],
)
def test_options_that_promise_different_things_are_rejected(
    answers: Any, coverage: float | None, says: str
) -> None:
    with pytest.raises(click.UsageError, match=says):
        check_answers(AnswerChoice(*answers), "head.safetensors", coverage=coverage)


def test_keep_and_error_need_a_head() -> None:
    check_answers(AnswerChoice(False, None, None, 0.5), None)
    with pytest.raises(click.UsageError, match="expected a calibrated --head with --keep; make"):
        check_answers(AnswerChoice(False, 0.9, None, None), None)


def test_sets_need_a_head() -> None:
    check_answers(AnswerChoice(False, None, None, None), "head.safetensors", coverage=0.9)
    with pytest.raises(click.UsageError, match="expected a calibrated --head with --set"):
        check_answers(AnswerChoice(False, None, None, None), None, coverage=0.9)


def test_what_sets_promise_is_printed_once(capsys: Any) -> None:
    sets = [Failure("a.jpg", OSError()), *[LabelSet(("cat",), (1.0,), None, "90 of 100")] * 2]

    assert list(note_promise(iter(sets))) == sets
    assert capsys.readouterr().err.count("90 of 100") == 1
