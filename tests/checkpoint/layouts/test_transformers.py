"""Configs of the transformers library are read as there, or rejected by field name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields, checked
from zeroshot.checkpoint.layouts import transformers
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published, Spec

HUGGINGFACE = forms.huggingface_config(forms.VIT)


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("model_type", "siglip", "model_type is 'siglip', expected 'clip'"),
        ("model_type", "chinese_clip", "model_type is 'chinese_clip'"),
        ("model_type", None, "model_type is None"),
        ("vision_config.hidden_act", "swish", "hidden_act is 'swish'"),
        ("vision_config.hidden_act", ["gelu"], "hidden_act"),
        ("vision_config.num_attention_heads", 5, "vision heads is 5, expected a divisor"),
        ("vision_config.hidden_size", 10**9, "vision width is 1000000000"),
        ("vision_config.layer_norm_eps", -1, "vision eps"),
        ("text_config.num_hidden_layers", 2**30, "text layers"),
        ("text_config.vocab_size", 30522, "30522 ids is not CLIP's"),
        ("text_config", "large", "not a JSON object"),
        ("projection_dim", 0, "projection_dim is 0"),
    ],
)
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any, what: str) -> None:
    facts = changed(HUGGINGFACE, path, value)

    with pytest.raises(IncompatibleWeights, match=what):
        checked(Spec(transformers.network_of(facts), PreprocessConfig(32)), "x.json")


def test_text_config_dict_overrides_text_config() -> None:
    facts = changed(HUGGINGFACE, "text_config_dict", HUGGINGFACE["text_config"])
    facts.content["text_config"] = {"hidden_size": 1}

    assert transformers.network_of(facts) == forms.VIT.network


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("do_normalize", False, "do_normalize is False"),
        ("do_center_crop", False, "do_center_crop is False"),
        ("crop_size", {"height": 30, "width": 32}, "crop_size"),
        ("resample", 0, "resample is 0"),
        ("resample", [3], "resample"),
        ("rescale_factor", 1.0, "rescale_factor is 1.0"),
        ("image_mean", "half", "three numbers"),
        ("size", {"longest_edge": 32}, "size.height is None"),
        ("size", {"height": 32, "width": 30}, "a square"),
    ],
)
def test_unsupported_preprocessing_is_rejected_by_field_name(
    path: str, value: Any, what: str
) -> None:
    facts = changed(forms.huggingface_preprocess(forms.VIT), path, value)

    with pytest.raises(IncompatibleWeights, match=what):
        transformers.preprocess_of(facts)


def test_sizes_can_be_numbers_as_in_old_files() -> None:
    facts = Fields({"size": 32, "crop_size": 32, "resample": 2}, "x")

    assert transformers.preprocess_of(facts) == PreprocessConfig(32, interpolation="bilinear")


def test_head_count_is_read_from_the_config(vit: Tensors, tmp_path: Path) -> None:
    path = forms.transformers(forms.VIT, vit, tmp_path)
    config = forms.huggingface_config(forms.VIT)
    config["vision_config"]["num_attention_heads"] = 4  # 16 wide, where OpenAI has 64
    forms.write_json(tmp_path / "config.json", config)

    assert reader.read(path).spec.network.vision.heads == 4


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_missing_config_file_is_named(name: str, vit: Tensors, tmp_path: Path) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / name).unlink()

    with pytest.raises(IncompatibleWeights, match=name):
        reader.read(tmp_path)


def test_like_replaces_a_missing_preprocessor_config(vit: Tensors, tmp_path: Path) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()

    assert reader.read(tmp_path, Published("gelu", PreprocessConfig(224))).spec == forms.VIT
