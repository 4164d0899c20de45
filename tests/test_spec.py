"""What is published of a catalogued checkpoint prevails over the config beside its weights."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from zeroshot import catalog
from zeroshot.checkpoint.reader import read
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import OPENAI_MEAN, OPENAI_STD, PreprocessConfig, Published

AS_STORED = Published(
    activation="quick_gelu",
    preprocess=PreprocessConfig(32, OPENAI_MEAN, OPENAI_STD, "bicubic", "shortest"),
    embed_dim=16,
    context_length=77,
)


def test_a_config_equal_to_the_published_values_is_unchanged(
    tiny_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tiny_path, published=AS_STORED).spec == read(tiny_path).spec
    assert caplog.records == []


def test_the_published_activation_is_used_and_logged(
    tiny_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zeroshot")

    spec = read(tiny_path, published=replace(AS_STORED, activation="gelu")).spec

    assert (spec.network.vision.activation, spec.network.text.activation) == ("gelu", "gelu")
    assert "activation is 'quick_gelu', published as 'gelu'" in caplog.text


def test_the_published_preprocessing_is_used(tiny_path: Path) -> None:
    recipe = replace(AS_STORED.preprocess, mean=(0.5, 0.5, 0.5), resize_mode="squash")
    wanted = replace(AS_STORED, preprocess=recipe)

    preprocess = read(tiny_path, published=wanted).spec.preprocess

    assert (preprocess.mean, preprocess.resize_mode) == ((0.5, 0.5, 0.5), "squash")


def test_an_unpublished_activation_is_taken_from_the_file(tiny_path: Path) -> None:
    spec = read(
        tiny_path, published=replace(AS_STORED, activation="gelu", activation_is_sourced=False)
    ).spec

    assert spec.network.text.activation == "quick_gelu"


@pytest.mark.parametrize("fact", ["image_size", "embed_dim", "context_length"])
def test_another_size_than_published_is_rejected(tiny_path: Path, fact: str) -> None:
    other = {"preprocess": PreprocessConfig(5)} if fact == "image_size" else {fact: 5}

    with pytest.raises(IncompatibleWeights, match=f"{fact} is .* published as 5"):
        read(tiny_path, published=replace(AS_STORED, **other))


def test_every_openai_model_uses_quick_gelu() -> None:
    activations = {
        entry.published.activation
        for entry in catalog.entries().values()
        if entry.family == "openai" and entry.published.activation_is_sourced
    }

    assert activations == {"quick_gelu"}
