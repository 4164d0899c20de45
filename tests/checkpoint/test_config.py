"""Configs of open_clip and transformers are read as there, or refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from tests.checkpoint import forms
from zeroshot.checkpoint.config_fields import Fields, check_spec, read_config
from zeroshot.checkpoint.layouts import native, open_clip, transformers
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Spec

OPEN_CLIP = forms.open_clip_config(forms.VIT)
HUGGINGFACE = forms.huggingface_config(forms.VIT)


def changed(document: dict[str, Any], path: str, value: Any) -> Fields:
    """Return the document with the value under a dotted path set."""
    document = copy.deepcopy(document)
    *parts, last = path.split(".")
    place = document
    for part in parts:
        place = place.setdefault(part, {})
    place[last] = value
    return Fields(document, "x.json")


# ---- open_clip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model_cfg.vision_cfg.timm_model_name", "vit_base_patch16_siglip_224"),
        ("model_cfg.vision_cfg.attentional_pool", True),
        ("model_cfg.vision_cfg.no_ln_pre", True),
        ("model_cfg.vision_cfg.ls_init_value", 1e-5),
        ("model_cfg.vision_cfg.pool_type", "avg"),
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
        ("model_cfg.text_cfg.no_causal_mask", True),
        ("model_cfg.text_cfg.embed_cls", True),
        ("model_cfg.text_cfg.proj_bias", True),
        ("model_cfg.text_cfg.proj_type", "none"),
        ("model_cfg.text_cfg.pool_type", "last"),
        ("model_cfg.text_cfg.scale_fc", True),
        ("model_cfg.text_cfg.tokenizer_kwargs.clean", "canonicalize"),
        ("model_cfg.text_cfg.heads", 7),
        ("model_cfg.init_logit_bias", -10),
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
def test_what_open_clip_can_and_we_cannot_is_named(path: str, value: Any) -> None:
    with pytest.raises(IncompatibleWeights) as caught:
        open_clip.from_config(changed(OPEN_CLIP, path, value))

    message = str(caught.value)
    assert path.rpartition(".")[2] in message.replace("mlp_width", "mlp_ratio")
    assert "x.json" in message


def test_the_vocabulary_of_another_tokenizer_is_refused() -> None:
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
def test_what_changes_nothing_is_let_pass(path: str, value: Any) -> None:
    assert open_clip.from_config(changed(OPEN_CLIP, path, value)) == forms.VIT


def test_activation_and_epsilon_come_from_the_config() -> None:
    document = copy.deepcopy(OPEN_CLIP)
    document["model_cfg"]["quick_gelu"] = False
    document["model_cfg"]["vision_cfg"] |= {"norm_kwargs": {"eps": 1e-6}}
    document["model_cfg"]["text_cfg"] |= {"act_kwargs": {"approximate": "tanh"}}

    network = open_clip.from_config(Fields(document, "x")).network

    assert (network.vision.activation, network.text.activation) == ("gelu", "gelu_tanh")
    assert (network.vision.eps, network.text.eps) == (1e-6, 1e-5)


@pytest.mark.parametrize(
    ("name", "width", "head_width", "heads"),
    [("H/14", 1280, 80, 16), ("g/14", 1408, 88, 16), ("bigG/14", 1664, 104, 16)],
)
def test_heads_of_the_giants(name: str, width: int, head_width: int, heads: int) -> None:
    facts = changed(OPEN_CLIP, "model_cfg.vision_cfg.width", width)
    facts.content["model_cfg"]["vision_cfg"]["head_width"] = head_width

    assert open_clip.from_config(facts).network.vision.heads == heads


# ---- transformers


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
        ("text_config.vocab_size", 30522, "CLIP's vocabulary of 49408 ids, got 30522"),
        ("text_config", "large", "to be a JSON object"),
        ("projection_dim", 0, "projection_dim is 0"),
    ],
)
def test_what_transformers_can_and_we_cannot_is_named(path: str, value: Any, what: str) -> None:
    facts = changed(HUGGINGFACE, path, value)

    with pytest.raises(IncompatibleWeights, match=what):
        check_spec(Spec(transformers.network_of(facts), PreprocessConfig(32)), "x.json")


def test_the_older_way_to_write_a_tower_wins_as_it_does_in_transformers() -> None:
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
def test_preprocessing_that_is_not_clips_is_named(path: str, value: Any, what: str) -> None:
    facts = changed(forms.huggingface_preprocess(forms.VIT), path, value)

    with pytest.raises(IncompatibleWeights, match=what):
        transformers.preprocess_of(facts)


def test_sizes_may_be_numbers_as_in_old_files() -> None:
    facts = Fields({"size": 32, "crop_size": 32, "resample": 2}, "x")

    assert transformers.preprocess_of(facts) == PreprocessConfig(32, interpolation="bilinear")


# ---- our own, and the file itself


def test_a_spec_survives_being_written() -> None:
    for spec in (forms.VIT, forms.RESNET):
        document = json.loads(json.dumps(native.to_json(spec)))
        assert native.from_json(Fields(document, "x")) == spec


def test_options_of_loading_are_not_facts_of_the_weights(tmp_path: Path) -> None:
    model = zeroshot.load(forms.ours(forms.VIT, forms.tensors_of(forms.VIT), tmp_path), parity=True)

    assert model.preprocess.parity
    assert native.to_json(model.spec) == native.to_json(forms.VIT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("architecture.vision.kind", "cnn"),
        ("architecture.vision.kind", ["vit"]),
        ("architecture.vision.layers", "2"),
        ("architecture.vision.layers", [1, 1]),
        ("architecture.vision.heads", 3),
        ("architecture.vision.patch_size", 64),
        ("architecture.vision.activation", "relu"),
        ("architecture.text.eps", 0),
        ("architecture.text.context_length", 10**7),
        ("architecture.embed_dim", 10**7),
        ("preprocess.size", 33),
        ("preprocess.mean", [0, 0, float("inf")]),
        ("preprocess.mean", 3),
        ("tokenizer.merges", -1),
        ("tokenizer.merges", 50_000),
        ("tokenizer.merges", None),
        ("architecture", []),
    ],
)
def test_numbers_that_make_no_network_are_refused_before_one_is_built(
    path: str, value: Any
) -> None:
    document = json.loads(json.dumps(native.to_json(forms.VIT)))

    with pytest.raises(IncompatibleWeights):
        native.from_json(changed(document, path, value))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b" " * 2**20 + b"{}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "list", "cut", "not-utf8", "deep", "large", "digits"],
)
def test_a_config_that_is_no_config_is_our_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(IncompatibleWeights, match=r"config\.json"):
        read_config(tmp_path / "config.json")
