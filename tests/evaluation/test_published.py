"""The published accuracy is found by the source of the model, with what differs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support import axes_classifier
from zeroshot import prompts
from zeroshot.evaluation.published import IMAGENET, find

FLOAT32 = SimpleNamespace(source=None, dtype="torch.float32")


@pytest.fixture(scope="module")
def imagenet() -> tuple[str, ...]:
    return tuple(prompts.labels("imagenet"))


def test_the_published_figure_comes_from_the_catalog() -> None:
    head = axes_classifier(["a", "b"], source="ViT-B/32").head

    found = find(head, FLOAT32, 10)

    assert found is not None
    assert found.top1 == pytest.approx(63.32)
    assert found.differs == "your data are not ImageNet"


@pytest.mark.parametrize("source", ["openai/clip-vit-base-patch32", "ViT-B-32:openai"])
def test_other_names_of_the_model_find_it(source: str) -> None:
    head = axes_classifier(["a", "b"], source=source).head

    found = find(head, FLOAT32, 10)
    assert found is not None


def test_the_source_of_the_model_is_used_if_the_head_has_none() -> None:
    encoder = SimpleNamespace(source="ViT-B/32")

    assert find(axes_classifier(["a", "b"]).head, encoder, 10) is not None


@pytest.mark.parametrize("source", [None, "mini", "someone/finetuned-clip"])
def test_models_without_a_published_figure_have_none(source: str | None) -> None:
    assert find(axes_classifier(["a", "b"], source=source).head, FLOAT32, 10) is None


def test_differences_name_images_prompts_and_precision(imagenet: tuple[str, ...]) -> None:
    head = axes_classifier(imagenet, source="ViT-B/32").head
    half = SimpleNamespace(dtype="torch.bfloat16")

    found = find(head, half, 500)

    assert found is not None
    assert found.differs == (
        "it is of 50000 images, yours of 500, it uses 80 templates, yours 1, your model computes "
        "in bfloat16"
    )


def test_equal_conditions_are_named_too(imagenet: tuple[str, ...]) -> None:
    templates = prompts.get("imagenet").templates
    head = axes_classifier(imagenet, source="ViT-B/32", templates=templates).head

    found = find(head, FLOAT32, IMAGENET)

    assert found is not None
    assert "the images are not checked" in found.differs


def test_prompts_of_other_publishers_are_not_called_equal(imagenet: tuple[str, ...]) -> None:
    templates = prompts.get("imagenet").templates
    head = axes_classifier(imagenet, source="siglip2", templates=templates).head

    found = find(head, FLOAT32, IMAGENET)

    assert found is not None
    assert (found.top1, found.differs) == (78.2, "its publisher's prompts may be others than yours")
