"""Specs: invalid fields, other input sizes, and published values that override a config."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_spec
from zeroshot import catalog
from zeroshot.checkpoint.reader import read
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import (
    OPENAI_MEAN,
    OPENAI_STD,
    ConSEConfig,
    PreprocessConfig,
    Published,
    ResNetConfig,
    Spec,
    TokenizerConfig,
    finite,
)

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


# problems of a configuration


def changed(part: str, **change: Any) -> Spec:
    """Return the tiny spec with fields of one part changed."""
    spec = tiny_spec()
    if part == "spec":
        return replace(spec, **change)
    if part == "preprocess":
        return replace(spec, preprocess=replace(spec.preprocess, **change))
    if part == "network":
        return replace(spec, network=replace(spec.network, **change))
    tower = replace(getattr(spec.network, part), **change)
    return replace(spec, network=replace(spec.network, **{part: tower}))


def test_a_valid_spec_has_no_problems() -> None:
    assert list(tiny_spec().problems()) == []


@pytest.mark.parametrize(
    ("part", "change", "fields"),
    [
        ("network", {"embed_dim": 0}, ["embed_dim"]),
        ("network", {"embed_dim": 16_385}, ["embed_dim"]),
        ("network", {"embed_dim": True}, ["embed_dim"]),
        ("vision", {"width": "32"}, ["vision width"]),
        ("vision", {"heads": 3}, ["vision heads"]),
        ("vision", {"patch_size": 64}, ["vision patch_size"]),
        ("vision", {"layers": -1}, ["vision layers"]),
        ("vision", {"activation": "relu"}, ["vision activation"]),
        ("vision", {"eps": 0.0}, ["vision eps"]),
        ("vision", {"eps": math.nan}, ["vision eps"]),
        ("text", {"heads": 5}, ["text heads"]),
        ("text", {"context_length": 4097}, ["text context_length"]),
        ("text", {"layers": 10**9}, ["text layers"]),
        ("preprocess", {"size": 64}, ["preprocess size"]),
        ("preprocess", {"mean": (0.5, 0.5)}, ["preprocess mean"]),
        ("preprocess", {"mean": [0.5, 0.5, 0.5]}, ["preprocess mean"]),
        ("preprocess", {"std": (0.5, 0.0, 0.5)}, ["preprocess std"]),
        ("preprocess", {"std": (0.5, math.inf, 0.5)}, ["preprocess std"]),
        ("preprocess", {"interpolation": "nearest"}, ["preprocess interpolation"]),
        ("preprocess", {"resize_mode": "pad"}, ["preprocess resize_mode"]),
        ("spec", {"merges": -1}, ["tokenizer merges"]),
        ("spec", {"merges": 2_001}, ["tokenizer merges"]),
        ("spec", {"merges": 2.0}, ["tokenizer merges"]),
        ("spec", {"scoring": "argmax"}, ["scoring"]),
    ],
    ids=str,
)
def test_an_invalid_field_is_a_problem(
    part: str, change: dict[str, Any], fields: list[str]
) -> None:
    problems = list(changed(part, **change).problems())

    assert [field for field, _, _ in problems] == fields
    assert all(expected for _, _, expected in problems)


@pytest.mark.parametrize("pool", ["last", "end"])
def test_text_tower_that_is_not_causal_must_read_the_end_of_clips_rows(pool: Any) -> None:
    assert list(changed("text", causal=False).problems()) == []

    problems = list(changed("text", causal=False, pool=pool).problems())

    assert [field for field, _, _ in problems] == ["text pool"]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"gated_mlp": True, "activation": "silu", "inner_norm": True}, []),
        ({"gated_mlp": True}, ["vision gated_mlp"]),
        ({"activation": "silu"}, ["vision gated_mlp"]),
        ({"inner_norm": True}, ["vision inner_norm"]),  # with quick_gelu
        ({"inner_norm": True, "activation": "gelu"}, []),
        ({"block_norm": "after"}, ["vision block_norm"]),
        ({"block_norm": "output"}, []),
        ({"stem": "conv"}, ["vision stem"]),
        ({"stem": "convolutions"}, ["vision patch_size"]),
        ({"stem": "convolutions", "patch_size": 16}, []),
        ({"stem": "convolutions", "patch_size": 16, "patch_bias": True}, ["vision width"]),
        ({"class_position": 1}, ["vision class_position"]),
        ({"class_position": False}, []),
    ],
    ids=str,
)
def test_options_of_a_vision_transformer_are_checked(
    change: dict[str, Any], fields: list[str]
) -> None:
    assert [field for field, _, _ in changed("vision", **change).problems()] == fields


def test_text_tower_has_no_gated_mlp() -> None:
    problems = list(changed("text", activation="silu").problems())

    assert [field for field, _, _ in problems] == ["text activation"]


def test_every_problem_is_listed() -> None:
    spec = changed("vision", heads=3, eps=0.0)

    problems = list(replace(spec, scoring="none").problems())  # type: ignore[arg-type]

    assert {field for field, _, _ in problems} == {"vision heads", "vision eps", "scoring"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"layers": (1, 1, 1)}, "layers"),
        ({"layers": 4}, "layers"),
        ({"layers": (1, 1, 0, 1)}, "layers"),
        ({"image_size": 33}, "image_size"),
        ({"heads": 5}, "heads"),
    ],
    ids=str,
)
def test_an_invalid_resnet_field_is_a_problem(change: dict[str, Any], field: str) -> None:
    valid = ResNetConfig(64, 6, (2, 1, 1, 1), 3)

    assert list(valid.problems()) == []
    assert {name for name, _, _ in replace(valid, **change).problems()} == {field}


@pytest.mark.parametrize(
    ("change", "field"),
    [({"variant": 3}, "variant"), ({"top_k": 101}, "top_k"), ({"temperature": 0}, "temperature")],
    ids=str,
)
def test_an_invalid_concept_field_is_a_problem(change: dict[str, Any], field: str) -> None:
    valid = ConSEConfig(224, 0, 100, 0.1, 10)

    assert list(valid.problems()) == []
    assert {name for name, _, _ in replace(valid, **change).problems()} == {field}


# other input sizes


def test_a_resized_spec_changes_only_the_input_size() -> None:
    spec = tiny_spec()

    found = spec.resized(48)

    assert (found.network.vision.image_size, found.preprocess.size) == (48, 48)
    assert list(found.problems()) == []
    assert found.resized(32) == spec


@pytest.mark.parametrize("size", [0, -8, 33, 4104, 48.0, "48", True, None])
def test_a_resized_spec_needs_a_multiple_of_the_stride(size: Any) -> None:
    with pytest.raises(ValueError, match="expected a multiple of 8 pixels, at most 4096"):
        tiny_spec().resized(size)


def test_a_resnet_is_resized_in_steps_of_32_pixels() -> None:
    network = replace(tiny_spec().network, vision=ResNetConfig(64, 6, (2, 1, 1, 1), 3))
    spec = replace(tiny_spec(), network=network, preprocess=PreprocessConfig(64))

    assert spec.resized(96).network.vision.image_size == 96
    with pytest.raises(ValueError, match="multiple of 32"):
        spec.resized(80)


def test_a_tower_of_fixed_size_is_not_resized() -> None:
    network = replace(tiny_spec().network, vision=ConSEConfig(224, 0, 100, 0.1, 10))

    with pytest.raises(ValueError, match="has a fixed input size"):
        replace(tiny_spec(), network=network).resized(256)


def test_depth_counts_the_layers_of_both_towers() -> None:
    network = tiny_spec().network

    assert network.depth == network.vision.depth + network.text.depth == 4
    assert ResNetConfig(64, 6, (2, 1, 1, 1), 3).depth == 5


# published values


def test_published_values_replace_activation_and_preprocessing_but_not_the_size() -> None:
    recipe = PreprocessConfig(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", "squash")

    found = Published("gelu", recipe).applied_to(tiny_spec())

    assert found.preprocess == replace(recipe, size=32)
    assert found.network.text.activation == "gelu"
    assert list(found.problems()) == []


def test_published_values_of_unknown_size_have_no_conflict() -> None:
    published = Published("quick_gelu", PreprocessConfig(32))

    assert published.size_conflicts(tiny_spec()) == []
    assert published.recipe_conflicts(tiny_spec()) == []


def test_published_conflicts_list_every_different_field() -> None:
    published = Published(
        "gelu", PreprocessConfig(64, interpolation="bilinear"), embed_dim=5, context_length=6
    )

    assert published.size_conflicts(tiny_spec()) == [
        "image_size is 32, published as 64",
        "embed_dim is 16, published as 5",
        "context_length is 77, published as 6",
    ]
    assert published.recipe_conflicts(tiny_spec()) == [
        "activation is 'quick_gelu', published as 'gelu'",
        "interpolation is 'bicubic', published as 'bilinear'",
    ]


def test_a_tower_without_an_activation_keeps_its_configuration() -> None:
    vision = ResNetConfig(64, 6, (2, 1, 1, 1), 3)
    spec = replace(tiny_spec(), network=replace(tiny_spec().network, vision=vision))

    found = Published("gelu", PreprocessConfig(64)).applied_to(spec)

    assert found.network.vision == vision
    assert found.network.text.activation == "gelu"


def test_gated_mlp_keeps_its_activation() -> None:
    spec = changed("vision", gated_mlp=True, activation="silu")

    found = Published("gelu", PreprocessConfig(32)).applied_to(spec)

    assert found.network.vision == spec.network.vision
    assert found.network.text.activation == "gelu"
    assert list(found.problems()) == []


@pytest.mark.parametrize(
    ("values", "accepted"),
    [((1, 0.5), True), ((0,), False), ((math.inf,), False), ((math.nan,), False), (("1",), False)],
)
def test_finite_accepts_only_numbers_above_the_bound(
    values: tuple[Any, ...], accepted: bool
) -> None:
    assert finite(*values, above=0) is accepted


def test_a_valid_tokenizer_has_no_problems() -> None:
    bert = TokenizerConfig(52, start=101, end=102)

    assert list(bert.problems()) == []
    assert list(TokenizerConfig(64, "canonicalize", end=1, pad=1, full_rows=True).problems()) == []
    assert (bert.special_tokens, bert.special_ids) == (2, (101, 102, 0))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("context_length", 0, "1 to 4096"),
        ("context_length", 5000, "1 to 4096"),
        ("context_length", 2, "at least 3: start, a token, end"),
        ("cleaning", "upper", "one of ('none', 'whitespace', 'lower', 'canonicalize')"),
        ("start", -1, "0 to 999999"),
        ("end", 10**6, "0 to 999999"),
        ("end", True, "0 to 999999"),
        ("pad", None, "0 to 999999"),
        ("full_rows", 1, "True or False"),
        ("lowercase", None, "True or False"),
        ("piece_ids", "xlm", "one of ('file', 'fairseq')"),
    ],
)
def test_an_invalid_field_of_a_tokenizer_is_named(field: str, value: Any, expected: str) -> None:
    config = replace(TokenizerConfig(77, start=0, end=2), **{field: value})

    assert list(config.problems()) == [(field, value, expected)]
