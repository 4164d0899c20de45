"""open_clip's config is read as open_clip reads it, or rejected by field name."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import open_clip
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published

OPEN_CLIP = forms.open_clip_config(forms.VIT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model_cfg.vision_cfg.timm_model_name", "eva02_base_patch14_224"),
        ("model_cfg.vision_cfg.attentional_pool", True),
        ("model_cfg.vision_cfg.ls_init_value", 1e-5),
        ("model_cfg.vision_cfg.pool_type", "none"),
        ("model_cfg.vision_cfg.pool_type", ["avg"]),
        ("model_cfg.vision_cfg.pos_embed_type", "sin_cos_2d"),
        ("model_cfg.vision_cfg.qk_norm", True),
        ("model_cfg.vision_cfg.act_kwargs.approximate", "sigmoid"),
        ("model_cfg.vision_cfg.image_size", [224, 196]),
        ("model_cfg.vision_cfg.layers", [1, 2]),
        ("model_cfg.vision_cfg.layers", 10**6),
        ("model_cfg.vision_cfg.width", -1),
        ("model_cfg.vision_cfg.mlp_ratio", float("nan")),
        ("model_cfg.vision_cfg.mlp_ratio", 10**400),
        ("model_cfg.text_cfg.hf_model_name", "roberta-base"),
        ("model_cfg.text_cfg.embed_cls", True),
        ("model_cfg.text_cfg.proj_type", "mlp"),
        ("model_cfg.text_cfg.pool_type", "last"),
        ("model_cfg.text_cfg.pool_type", "eos"),
        ("model_cfg.text_cfg.pool_type", ["argmax"]),
        ("model_cfg.text_cfg.hf_tokenizer_name", "roberta-base"),
        ("model_cfg.text_cfg.scale_fc", True),
        ("model_cfg.text_cfg.tokenizer_kwargs.clean", "canonicalize"),
        ("model_cfg.text_cfg.heads", 7),
        ("model_cfg.multimodal_cfg", {"width": 768}),
        ("model_cfg.embed_dim", None),
        ("model_cfg.embed_dim", "512"),
        ("model_cfg.embed_dim", True),
        ("preprocess_cfg.mode", "L"),
        ("preprocess_cfg.mean", [0.5, 0.5]),
        ("preprocess_cfg.std", [0.5, 0.0, 0.5]),
        ("preprocess_cfg.interpolation", "random"),
        ("preprocess_cfg.resize_mode", ["squash"]),
    ],
)
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any) -> None:
    with pytest.raises(IncompatibleWeights) as caught:
        open_clip.from_config(changed(OPEN_CLIP, path, value))

    message = str(caught.value)
    assert path.rpartition(".")[2] in message.replace("mlp_width", "mlp_ratio")
    assert "x.json" in message


def test_vocabulary_of_another_tokenizer_is_rejected() -> None:
    with pytest.raises(IncompatibleWeights, match="CLIP's vocabulary of 49408 ids, got 32000"):
        open_clip.from_config(changed(OPEN_CLIP, "model_cfg.text_cfg.vocab_size", 32000))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model_cfg.vision_cfg.patch_dropout", 0.5),  # of training only
        ("model_cfg.vision_cfg.timm_model_name", None),
        ("model_cfg.vision_cfg.image_size", [32, 32]),
        ("model_cfg.text_cfg.hf_tokenizer_name", ""),
        ("model_cfg.custom_text", True),
        ("preprocess_cfg.size", 99),  # open_clip takes the tower's
        ("preprocess_cfg.fill_color", 0),
    ],
)
def test_field_without_effect_is_accepted(path: str, value: Any) -> None:
    assert open_clip.from_config(changed(OPEN_CLIP, path, value)) == forms.VIT


def test_activation_and_epsilon_are_read_from_the_config() -> None:
    document = copy.deepcopy(OPEN_CLIP)
    document["model_cfg"]["quick_gelu"] = False
    document["model_cfg"]["vision_cfg"] |= {"norm_kwargs": {"eps": 1e-6}}
    document["model_cfg"]["text_cfg"] |= {"act_kwargs": {"approximate": "tanh"}}

    network = open_clip.from_config(Fields(document, "x")).network

    assert (network.vision.activation, network.text.activation) == ("gelu", "gelu_tanh")
    assert (network.vision.eps, network.text.eps) == (1e-6, 1e-5)


def test_options_of_clipa_are_read_from_the_config() -> None:
    document = copy.deepcopy(OPEN_CLIP)
    options = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
    document["model_cfg"]["vision_cfg"] |= options

    vision = open_clip.from_config(Fields(document, "x")).network.vision

    assert vision == replace(
        forms.VIT.network.vision, pre_norm=False, pool="mean", norm_after_pool=True
    )
    document["model_cfg"]["vision_cfg"]["final_ln_after_pool"] = False
    assert not open_clip.from_config(Fields(document, "x")).network.vision.norm_after_pool


@pytest.mark.parametrize("field", ["no_ln_pre", "final_ln_after_pool"])
def test_option_of_vision_transformers_is_rejected_for_a_resnet(field: str) -> None:
    document = forms.open_clip_config(forms.RESNET)

    with pytest.raises(IncompatibleWeights, match=f"vision_cfg.{field} is True, expected False"):
        open_clip.from_config(changed(document, f"model_cfg.vision_cfg.{field}", True))


@pytest.mark.parametrize(
    ("name", "width", "head_width", "heads"),
    [("H/14", 1280, 80, 16), ("g/14", 1408, 88, 16), ("bigG/14", 1664, 104, 16)],
)
def test_head_count_follows_head_width(name: str, width: int, head_width: int, heads: int) -> None:
    facts = changed(OPEN_CLIP, "model_cfg.vision_cfg.width", width)
    facts.content["model_cfg"]["vision_cfg"]["head_width"] = head_width

    assert open_clip.from_config(facts).network.vision.heads == heads


def test_bare_state_dict_requires_like(vit: Tensors, tmp_path: Path) -> None:
    torch.save(forms.openai(vit), tmp_path / "bare.pt")

    with pytest.raises(IncompatibleWeights, match="like="):
        reader.read(tmp_path / "bare.pt")

    hints = Published("gelu", PreprocessConfig(224, interpolation="bilinear"))
    spec = reader.read(tmp_path / "bare.pt", hints).spec
    assert spec.network.text.activation == "gelu"
    assert spec.preprocess == PreprocessConfig(32, interpolation="bilinear")


# ---- fields that may change the network


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("use_rope", True),
        ("timm_cfg", {"patch_size": 16}),
        ("model_cfg.use_rope", True),
        ("model_cfg.global_average_pool", False),
        ("model_cfg.audio_cfg", {"width": 64}),
        ("model_cfg.vision_cfg.use_rope", True),
        ("model_cfg.vision_cfg.global_average_pool", True),
        ("model_cfg.vision_cfg.input_patchnorm", False),
        ("model_cfg.vision_cfg.norm_kwargs.bias", False),
        ("model_cfg.vision_cfg.act_kwargs.inplace", True),
        ("model_cfg.text_cfg.use_rope", True),
        ("model_cfg.text_cfg.correct_cls_mask", True),
        ("model_cfg.text_cfg.tokenizer_kwargs.reduction_mask", "simple"),
        ("preprocess_cfg.use_rope", True),
        ("preprocess_cfg.antialias", False),
    ],
)
def test_unknown_field_is_rejected_by_name(path: str, value: Any) -> None:
    with pytest.raises(IncompatibleWeights) as caught:
        open_clip.from_config(changed(OPEN_CLIP, path, value))

    assert str(caught.value).startswith(f"x.json: unsupported fields {path};")
    assert caught.value.source == "x.json"


def test_all_unknown_fields_of_an_object_are_named() -> None:
    facts = changed(OPEN_CLIP, "model_cfg.vision_cfg.use_rope", True)
    facts.content["model_cfg"]["vision_cfg"]["another"] = 1

    with pytest.raises(IncompatibleWeights) as caught:
        open_clip.from_config(facts)

    assert "model_cfg.vision_cfg.another, model_cfg.vision_cfg.use_rope" in str(caught.value)


@pytest.mark.parametrize("field", ["hf_tokenizer_name", "hf_model_name"])
def test_top_level_tokenizer_or_model_of_transformers_is_rejected_by_name(field: str) -> None:
    with pytest.raises(IncompatibleWeights, match=f"{field} is 'roberta-base', expected none"):
        open_clip.from_config(changed(OPEN_CLIP, field, "roberta-base"))


@pytest.mark.parametrize("field", ["hf_tokenizer_name", "hf_model_name"])
@pytest.mark.parametrize("value", [None, ""])
def test_empty_top_level_field_is_accepted(field: str, value: Any) -> None:
    assert open_clip.from_config(changed(OPEN_CLIP, field, value)) == forms.VIT


def test_config_with_an_unknown_field_beside_weights_is_rejected(
    vit: Tensors, tmp_path: Path
) -> None:
    path = forms.open_clip(forms.VIT, vit, tmp_path)
    facts = changed(OPEN_CLIP, "model_cfg.vision_cfg.use_rope", True)
    forms.write_json(tmp_path / "open_clip_config.json", facts.content)

    with pytest.raises(
        IncompatibleWeights, match=r"open_clip_config\.json: .*vision_cfg\.use_rope"
    ):
        reader.read(path)
