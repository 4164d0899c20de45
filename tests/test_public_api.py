"""Public names, their signatures and types."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from tests.support import run_python

ROOT = Path(__file__).parents[1]
ALIASES = {"ImageLike", "Labels", "Prompts"}


def test_all_is_sorted_and_complete() -> None:
    assert zeroshot.__all__ == sorted(zeroshot.__all__)
    assert set(zeroshot.__all__) == {
        *(
            "Classifier",
            "Failure",
            "Head",
            "Model",
            "Prediction",
            "Predictions",
            "PromptSet",
            "ClipTokenizer",
            "Report",
        ),
        *("ImageLike", "Labels", "Prompts", "Sample", "Tokenizer"),
        *("ZeroshotError", "__version__", "available_models", "classify", "errors", "load"),
        *("Problem", "label", "lint"),
        *("bulk", "calibration", "evaluate", "metrics", "prompts", "sample_image"),
    }
    assert dir(zeroshot) == zeroshot.__all__


@pytest.mark.parametrize("name", zeroshot.__all__)
def test_every_public_name_resolves_to_one_object(name: str) -> None:
    first = getattr(zeroshot, name)
    assert getattr(zeroshot, name) is first
    if name in ALIASES:
        assert (first | None) is not None  # usable in annotations that are evaluated
    elif name != "__version__":
        assert inspect.ismodule(first) or first.__module__.startswith("zeroshot.")
        assert inspect.getdoc(first)


def test_bulk_exports_the_functions_that_use_a_table() -> None:
    names = zeroshot.bulk.__all__

    assert names == sorted(names) == dir(zeroshot.bulk)
    assert {name for name in names if name.islower()} == {
        *("apply_sort", "find", "merge", "plan_sort", "read_status", "relabel", "sort", "tag"),
        "undo_sort",
    }
    for name in names:
        first = getattr(zeroshot.bulk, name)
        assert first.__module__.startswith("zeroshot.bulk.")
        assert getattr(zeroshot.bulk, name) is first


def test_a_table_is_read_without_torch_and_pyarrow_is_imported_when_needed() -> None:
    code = """
import sys
import zeroshot
from zeroshot import bulk
bulk.read_status, bulk.merge, bulk.sort, bulk.tag
assert "torch" not in sys.modules
zeroshot.label, bulk.relabel, bulk.find
assert "pyarrow" not in sys.modules
"""

    assert run_python(code) == ""


def test_a_module_of_bulk_is_imported_by_name() -> None:
    from zeroshot.bulk import placement

    assert inspect.ismodule(placement)
    with pytest.raises(AttributeError, match=r"module 'zeroshot\.bulk' has no attribute 'lable'"):
        zeroshot.bulk.lable  # type: ignore[attr-defined]  # noqa: B018


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        zeroshot.clasify  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(zeroshot, "torch")


def test_the_version_equals_the_distribution_version() -> None:
    assert metadata.version("zeroshot-clip") == zeroshot.__version__


def public() -> list[tuple[str, Any]]:
    """List every public callable: functions, classes' constructors and their methods."""
    found: list[tuple[str, Any]] = []
    for name in zeroshot.__all__:
        value = getattr(zeroshot, name)
        if inspect.isfunction(value):
            found.append((name, value))
        elif inspect.isclass(value) and not issubclass(value, Exception):
            for attribute, member in vars(value).items():
                plain = inspect.unwrap(getattr(member, "__func__", member))
                own = inspect.isfunction(plain) and plain.__module__.startswith("zeroshot")
                if own and (not attribute.startswith("_") or attribute in ("__call__", "__add__")):
                    found.append((f"{name}.{attribute}", plain))
    return found


@pytest.mark.parametrize(("name", "function"), public(), ids=[name for name, _ in public()])
def test_public_functions_are_typed_documented_and_keyword_only(name: str, function: Any) -> None:
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in parameters:
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if isinstance(parameter.default, bool) or parameter.default is None:
            positional = name in ("Model.to",)
            assert parameter.kind is parameter.KEYWORD_ONLY or positional, parameter.name
    if not name.endswith("__add__"):
        assert inspect.getdoc(function)


USER_SCRIPT = """
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, assert_type

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import zeroshot
from tests.support import run_python
from zeroshot import Classifier, Failure, Head, ImageLike, Labels, Model, Prediction, Prompts
from zeroshot import Predictions, PromptSet, Report, Sample, Tokenizer

one = zeroshot.classify("cat.jpg", ["cat", "dog"])
assert_type(one, Prediction)
assert_type(zeroshot.classify(Path("cat.jpg"), {"cat": ["cat", "kitty"], "dog": "dog"}), Prediction)
assert_type(zeroshot.classify(["a.jpg", b"."], ["cat"], prompts="photo", top=2), Predictions)
assert_type(zeroshot.classify(Path(".").glob("*.jpg"), ("cat", "dog")), Predictions)
many: list[Prediction] = zeroshot.classify(["a.jpg"], ["cat"])
assert_type(one.label, str | None)
assert_type(zeroshot.classify(zeroshot.sample_image(), ["cat", "dog"]), Prediction)
assert_type(one.probability, float)
assert_type(one.ranking, tuple[tuple[str, float], ...])
assert_type(one.source, str | None)

model = zeroshot.load("ViT-B/32", device="cpu", dtype="bfloat16", offline=True)
assert_type(model, Model)
assert_type(model.encode_image("a.jpg"), Tensor)
assert_type(model.encode_image(["a.jpg"], project=False, normalize=None), Tensor)
assert_type(model.encode_text(["a cat"], truncate=True), Tensor)
assert_type(model.similarity(model.encode_image([]), model.encode_text([])), Tensor)
assert_type(model.prepare(np.zeros((4, 4, 3), np.uint8)), NDArray[np.float32])
assert_type(model.to(dtype="float32"), Model)
assert_type(model.tokenizer, Tokenizer)
assert_type(model.scoring, Literal["softmax", "sigmoid"])
assert_type(model.logit_bias, float | None)
assert_type(zeroshot.available_models(), list[str])
assert_type(zeroshot.lint(["cat", "dog"], "photo", model=model), list[zeroshot.Problem])
zeroshot.lint({"bird": {"wren": "wren", "crane": ["crane", "sandhill crane"]}, "fish": {}})

head = model.head(["cat", "dog"], PromptSet(("a {}",)) + zeroshot.prompts.get("photo"))
assert_type(head, Head)
assert_type(head.select(["cat"]) + Head.load("h.safetensors"), Head)
head.save(Path("h.safetensors"))

classifier = Classifier(model, head)
assert_type(model.classifier(head), Classifier)
assert_type(classifier("a.jpg"), Prediction)
assert_type(classifier([Path("a.jpg")], top=3), Predictions)
assert_type(classifier(Sample("photos.tar/1.jpg", b"")), Prediction)
assert_type(classifier.predict_proba("a.jpg"), NDArray[np.float32])
assert_type(classifier.score(["a.jpg"], ["cat"]), float)
report = zeroshot.evaluate(classifier, ["a.jpg", Path("b.jpg")], ["cat", 1])
assert_type(report, Report)
assert_type(zeroshot.evaluate(classifier, model.encode_image([]), [["cat"], []]), Report)
report.save("report.html")
stream = classifier.stream(Path(".").rglob("*.jpg"), on_error="yield")
assert_type(stream, Iterator[Prediction | Failure])
for found in stream:
    if isinstance(found, Failure):
        assert_type(found.error, Exception)

def name_it(image: ImageLike, labels: Labels, prompts: Prompts = "photo") -> str | None:
    return zeroshot.classify(image, labels, prompts=prompts).label


try:
    zeroshot.load("none")
except zeroshot.errors.ModelNotFound as error:
    print(error)

zeroshot.classify("cat.jpg", 5)  # type: ignore[call-overload]
zeroshot.load(5)  # type: ignore[arg-type]
zeroshot.clasify  # type: ignore[attr-defined]
one.label = "dog"  # type: ignore[misc]
model.preprocess = model.preprocess  # type: ignore[misc]
"""


def test_a_user_script_passes_mypy_strict(tmp_path: Path) -> None:
    """Types of the public API are exact, and wrong calls are found (unused ignores are errors)."""
    script = tmp_path / "script.py"
    script.write_text(USER_SCRIPT)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        str(ROOT / "pyproject.toml"),
    ]
    done = subprocess.run(
        [*command, str(script)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_lists_no_class_of_typing() -> None:
    shown = pydoc.render_doc(zeroshot, renderer=pydoc.plaintext)  # type: ignore[attr-defined]

    assert "typing.Any" not in shown
    assert "'Show'" not in shown
