"""Options decide when a classifier answers, and a saved head names its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

import zeroshot
from tests.support import axes_classifier
from zeroshot.cli.heads import AnswerChoice, check_answers, write_head


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


def test_only_a_head_is_replaced(tiny: zeroshot.Model, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    head = tiny.head(["cat", "dog"])

    write_head(head, path)
    write_head(head, path)
    path.write_bytes(b"something else")

    with pytest.raises(click.UsageError, match="exists and is not a head"):
        write_head(head, path)
    assert path.read_bytes() == b"something else"
