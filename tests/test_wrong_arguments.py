"""A wrong argument of any public callable is an error of the package with a short message."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

import zeroshot
from tests.support import photograph
from tests.wrong_values import bound, callables, outcome, parameters, wrong_values
from zeroshot.linting import model_rules

# Parameters that take several values: a wrong value is also passed among them.
COLLECTIONS = {"images", "labels", "prompts", "texts", "truth", "templates", "ids", "background"}
COLLECTIONS |= {"pixels", "embeddings", "logits"}
FORMS = (lambda value: value, lambda value: [value], lambda value: {"cat": ["cat", value]})
FUNCTIONS = {"prepare", "embed"}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def subjects(tiny: zeroshot.Model) -> dict[str, Any]:
    """The objects whose methods are called."""
    head = tiny.head(["cat", "dog"])
    return {
        "Model": tiny,
        "Head": head,
        "Classifier": zeroshot.Classifier(tiny, head).calibrate(
            [photograph()] * 20, ["cat", "dog"] * 10
        ),
        "ClipTokenizer": tiny.tokenizer,
        "PromptSet": zeroshot.prompts.get("photo"),
        "Predictions": zeroshot.Predictions(),
        "Report": zeroshot.evaluate(zeroshot.Classifier(tiny, head), [photograph()], ["cat"]),
        "prompts": zeroshot.prompts,
    }


@pytest.fixture
def valid(tiny: zeroshot.Model, tiny_path: Path, subjects: dict[str, Any], tmp_path: Path) -> Any:
    """Valid arguments by the name of a parameter, or of a callable and a parameter."""
    head: zeroshot.Head = subjects["Head"]
    embeddings = torch.eye(16)[:2]
    head.save(tmp_path / "head.safetensors")
    (tmp_path / "templates.txt").write_text("a {}")
    return {
        "images": [photograph()],
        "image": photograph(),
        "labels": ["cat", "dog"],
        "texts": ["a cat"],
        "text": "a cat",
        "ids": [1, 2],
        "load.name": tiny_path,
        "name": "mine",
        "Model.name": "tiny",
        "prompts.get.prompts": "photo",
        "prompts.labels.name": "cifar10",
        "prompts.wnids.name": "imagenet",
        "PromptSet.name": "mine",
        "classify.model": tiny,
        "offline": True,
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "like": "ViT-B/32",
        "truth": ["cat"],
        "lint.model": tiny,
        "lint.images": [photograph()],
        "lint.truth": ["cat"],
        "Classifier.calibrate.images": [photograph()] * 20,
        "Classifier.calibrate.truth": ["cat", "dog"] * 10,
        "Classifier.answering.below": 0.5,
        "Classifier.with_examples.images": [photograph()] * 2,
        "Classifier.with_examples.truth": ["cat", "dog"],
        "words": torch.zeros(1, 3),
        "classifier": subjects["Classifier"],
        "row": 0,
        "base": subjects["Report"],
        "Report.save.path": tmp_path / "report.html",
        "encoder": tiny,
        "head": head,
        "embeddings": embeddings,
        "logits": torch.zeros(1, 2),
        "similarity.images": embeddings,
        "Model.similarity.images": embeddings,
        "Model.similarity.texts": embeddings,
        "other": head,
        "PromptSet.__add__.other": subjects["PromptSet"],
        "Predictions.__add__.other": [],
        "Head.__add__.other": tiny.head(["boat"]),
        "identity": tiny.identity,
        "source": "this head",
        "path": tmp_path / "new.safetensors",
        "Head.load.path": tmp_path / "head.safetensors",
        "PromptSet.read.path": tmp_path / "templates.txt",
        "pixels": torch.zeros(1, 3, 32, 32),
        "prepare": tiny.prepare,
        "embed": len,
        "items": [photograph()],
        "templates": ("a {}",),
        "label": "cat",
        "weight": head.weight,
        "logit_scale": 1.0,
        "logit_bias": None,
        "Head.model": head.model,
        "Head.names": head.names,
        "Head.templates": head.templates,
        "Head.prompts": "photo",
        "Head.labels": head.labels,
        "checkpoint": tiny.checkpoint,
        "key": "a",
        "probability": 0.5,
        "ranking": (("cat", 0.5),),
        "error": OSError("empty"),
        "inputs": [photograph()],
        "out": tmp_path / "table",
        "label.labels": ["cat", "dog"],
        "label.model": tiny,
    }


def arguments(name: str, valid: dict[str, Any]) -> dict[str, Any]:
    """Return valid arguments of a callable; a parameter without one keeps its default."""
    found = {}
    for key, parameter in parameters(name).items():
        if f"{name}.{key}" in valid:
            found[key] = valid[f"{name}.{key}"]
        elif parameter.default is parameter.empty or key == "offline":
            found[key] = valid[key]
    return found


def failures(
    function: Callable[..., Any], others: dict[str, Any], keys: Iterable[str], folder: Path
) -> dict[str, str]:
    """Call a function with each wrong value of each parameter; return what was not reported."""
    found = {}
    for key in keys:
        for value, make in wrong_values(folder).items():
            for form in FORMS if key in COLLECTIONS else FORMS[:1]:
                given = form(make())
                if key in FUNCTIONS and callable(given):
                    continue  # it may raise what it likes
                if problem := outcome(function, others | {key: given}):
                    found[f"{key}={value}"] = problem
    return found


@pytest.fixture
def workplace(tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that can be filled, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(model_rules, "WORDS", 20)  # 300 are slow
    return tmp_path


@pytest.mark.parametrize("name", callables())
def test_a_wrong_argument_is_an_error_of_the_package(
    name: str, subjects: dict[str, Any], valid: dict[str, Any], workplace: Path
) -> None:
    function, others = bound(name, subjects), arguments(name, valid)
    function(**others)

    failed = failures(function, others, parameters(name), workplace)

    assert failed == {}, "\n".join(f"{case}: {problem}" for case, problem in failed.items())


def test_a_wrong_argument_for_a_repository_is_an_error_of_the_package(workplace: Path) -> None:
    failed = failures(
        zeroshot.load, {"name": "owner/name"}, ["revision", "cache_dir", "lock"], workplace
    )

    assert failed == {}, "\n".join(f"{case}: {problem}" for case, problem in failed.items())
