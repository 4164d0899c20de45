"""Code of other CLIP libraries gets errors that say what to write instead."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

import zeroshot
from zeroshot import migration
from zeroshot.errors import ArgumentError

PHOTO = zeroshot.sample_image()
LABELS = ["cat", "dog"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"candidate_labels": LABELS}, r"classify\(images, labels\)"),
        ({"hypothesis_template": "a {}"}, "prompts='This is a photo of {}.'"),
        ({"top_k": 1}, "top=5"),
        ({"device": 0}, r"zeroshot.load\('ViT-B/32', device='cuda'\)"),
        ({"templates": ["a {}"]}, "prompts="),
    ],
    ids=str,
)
def test_keywords_of_other_libraries_are_answered_with_the_line_to_write(
    options: dict[str, Any], says: str
) -> None:
    labels = [] if "candidate_labels" in options else [LABELS]
    with pytest.raises(ArgumentError, match=says) as caught:
        zeroshot.classify(PHOTO, *labels, **options)

    assert str(caught.value).startswith(f"classify() has no argument {next(iter(options))!r}; ")
    assert isinstance(caught.value, TypeError)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("keyword", ["pretrained", "precision", "torch_dtype", "jit"])
def test_load_names_the_replacement_of_a_keyword(keyword: str) -> None:
    load: Any = zeroshot.load
    with pytest.raises(ArgumentError, match=rf"load\(\) has no argument '{keyword}'; \w+"):
        load("mini", **{keyword: "openai"})


def test_methods_name_the_replacement_of_a_keyword(tiny: Any) -> None:
    with pytest.raises(ArgumentError, match="truncate=True"):
        tiny.encode_text("cat", truncation=True)
    with pytest.raises(ArgumentError, match=r"call\(\) has no argument 'top_k'; write top=5"):
        tiny.classifier(LABELS)(PHOTO, top_k=1)


def test_a_positional_model_or_device_is_answered_with_its_keyword(tiny: Any) -> None:
    classify: Any = zeroshot.classify
    with pytest.raises(ArgumentError, match="model='ViT-B/32'"):
        classify(PHOTO, LABELS, tiny)
    load: Any = zeroshot.load
    with pytest.raises(ArgumentError, match="device='cpu'"):
        load("mini", "cpu")


def test_other_type_errors_are_those_of_python() -> None:
    classify: Any = zeroshot.classify
    with pytest.raises(TypeError, match="unexpected keyword argument 'labelz'") as caught:
        classify(PHOTO, labelz=LABELS)

    assert not isinstance(caught.value, ArgumentError)

    def images() -> Any:
        raise TypeError("of the caller")
        yield

    with pytest.raises(TypeError, match="of the caller"):
        zeroshot.classify(images(), LABELS, model="mini")


@pytest.mark.parametrize("name", ["eval", "half", "cuda", "get_image_features", "encode"])
def test_attributes_of_other_models_are_answered(name: str, tiny: zeroshot.Model) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; (write|omit) \\w+"):
        getattr(tiny, name)

    assert not hasattr(tiny, name)


def test_other_missing_attributes_are_those_of_python(tiny: zeroshot.Model) -> None:
    with pytest.raises(AttributeError, match=r"^'Model' object has no attribute 'nothing'$"):
        tiny.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert copy.copy(tiny).name == tiny.name
    assert pickle.loads(pickle.dumps(tiny)).identity == tiny.identity


@pytest.mark.parametrize("name", migration.PACKAGE)
def test_functions_of_other_packages_are_answered(name: str) -> None:
    zeroshot.load("mini")  # imports submodules, which become attributes
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; (write|omit) \\w+"):
        getattr(zeroshot, name)

    assert not hasattr(zeroshot, name)


def test_no_replaced_name_exists() -> None:
    assert not [name for name in migration.MODEL if hasattr(zeroshot.Model, name)]
    existing = inspect.signature(zeroshot.classify).parameters
    assert not [name for name in migration.KEYWORDS if name in existing]
