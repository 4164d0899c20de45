"""Docstrings of public names say what goes in and comes out, and their examples run."""

from __future__ import annotations

import doctest
import inspect
import shutil
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from tests.test_public_api import public

ALIASES = {"ImageLike", "Labels", "Prompts"}
PROMPTS = [
    (f"prompts.{n}", getattr(zeroshot.prompts, n)) for n in ("available", "get", "labels", "wnids")
]
BULK = [(f"bulk.{name}", getattr(zeroshot.bulk, name)) for name in zeroshot.bulk.__all__]
CALLABLES = [*public(), *PROMPTS, *(each for each in BULK if inspect.isfunction(each[1]))]
CLASSES = [
    (name, getattr(zeroshot, name))
    for name in zeroshot.__all__
    if name not in ALIASES and inspect.isclass(getattr(zeroshot, name))
]
CLASSES += [each for each in BULK if inspect.isclass(each[1])]
# They raise nothing on purpose.
NEVER_RAISE = {
    *("available_models", "prompts.available", "Prediction.to_dict", "Failure.to_dict"),
    *("Head.digest", "LabelSet.to_dict", "Tokenizer.encode", "Tokenizer.decode"),
    *("Report.to_dict",),
}
PROTOCOL = "Tokenizer."  # ClipTokenizer has the examples


def undocumented(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.keys() - {"self", "cls"}
    return [each for each in parameters if f"{each}: " not in (inspect.getdoc(function) or "")]


@pytest.mark.parametrize(("name", "function"), CALLABLES, ids=[name for name, _ in CALLABLES])
def test_a_public_callable_documents_arguments_result_errors_and_an_example(
    name: str, function: Any
) -> None:
    text = inspect.getdoc(function) or ""

    assert undocumented(function) == []
    assert "Returns:" in text or inspect.signature(function).return_annotation == "None"
    assert "Raises:" in text or name in NEVER_RAISE
    assert ">>> " in text or name.startswith(PROTOCOL)


@pytest.mark.parametrize("name", [name for name, _ in CALLABLES])
def test_a_function_that_raises_has_short_tracebacks(name: str) -> None:
    function = attrgetter(name)(zeroshot)

    raises = "Raises:" in (inspect.getdoc(function) or "")
    assert hasattr(function, "__wrapped__") or not raises or name.startswith(PROTOCOL)


@pytest.mark.parametrize(("name", "kind"), CLASSES, ids=[name for name, _ in CLASSES])
def test_a_public_class_has_an_example(name: str, kind: Any) -> None:
    assert ">>> " in (kind.__doc__ or "") or name == "Tokenizer"


@pytest.mark.parametrize(
    ("name", "value"), [*CALLABLES, *CLASSES], ids=[name for name, _ in [*CALLABLES, *CLASSES]]
)
def test_examples_run(
    name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(zeroshot.sample_image(), tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    names = {"zeroshot": zeroshot}
    example = doctest.DocTestParser().get_doctest(value.__doc__ or "", names, name, None, None)
    shown: list[str] = []

    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=shown.append)

    assert result.failed == 0, "".join(shown)
