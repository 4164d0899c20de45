"""Configs of the transformers library are read as there, or rejected by field name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields, check_spec
from zeroshot.checkpoint.layouts import transformers
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import NetworkConfig, PreprocessConfig, Published, Spec, TextConfig, ViTConfig

HUGGINGFACE = forms.huggingface_config(forms.VIT)


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("model_type", "siglip3", "model_type is 'siglip3', expected one of clip, siglip, siglip2"),
        ("model_type", "blip", "use transformers for this model, or try another of zeroshot"),
        ("model_type", "siglip_vision_model", "load the model that has both towers"),
        ("model_type", "altclip", "model_type is 'altclip'"),
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
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any, what: str) -> None:
    facts = changed(HUGGINGFACE, path, value)

    with pytest.raises(IncompatibleWeights, match=what):
        check_spec(Spec(transformers.network_of(facts), PreprocessConfig(32)), "x.json")


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
        ("crop_size", 30, "crop_size"),
    ],
)
def test_unsupported_preprocessing_is_rejected_by_field_name(
    path: str, value: Any, what: str
) -> None:
    facts = changed(forms.huggingface_preprocess(forms.VIT), path, value)

    with pytest.raises(IncompatibleWeights, match=what):
        transformers.preprocess_of(facts)


@pytest.mark.parametrize("crops", [True, None])
def test_squashed_images_are_not_cropped_to_another_size(crops: bool | None) -> None:
    square = {"size": {"height": 32, "width": 32}, "crop_size": 24, "do_center_crop": crops}

    with pytest.raises(IncompatibleWeights, match="crop_size"):
        transformers.preprocess_of(Fields(square, "x"))
    found = transformers.preprocess_of(Fields(square | {"do_center_crop": False}, "x"))
    assert found.resize_mode == "squash"


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


# ---- fields that may change the network


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("use_rope", True),
        ("global_average_pool", False),
        ("audio_config", {"hidden_size": 64}),
        ("vision_config.use_rope", True),
        ("vision_config.global_average_pool", True),
        ("vision_config.use_mean_pooling", False),
        ("vision_config.vocab_size", 49408),
        ("text_config.use_rope", True),
        ("text_config.pooling", "last"),
        ("text_config.patch_size", 32),
        ("vision_config_dict.use_rope", True),
        ("text_config_dict.use_rope", True),
    ],
)
def test_unknown_field_is_rejected_by_name(path: str, value: Any) -> None:
    with pytest.raises(IncompatibleWeights) as caught:
        transformers.network_of(changed(HUGGINGFACE, path, value))

    assert str(caught.value).startswith(f"x.json: unsupported fields {path};")
    assert caught.value.source == "x.json"


@pytest.mark.parametrize("part", ["", "vision_config.", "text_config."])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("add_cross_attention", True),
        ("is_decoder", True),
        ("is_encoder_decoder", True),
        ("pruned_heads", {"0": [1]}),
    ],
)
def test_field_that_changes_the_network_must_be_off(part: str, field: str, value: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=f"{part}{field} is .*, expected none"):
        transformers.network_of(changed(HUGGINGFACE, f"{part}{field}", value))

    off = changed(HUGGINGFACE, f"{part}{field}", type(value)())
    assert transformers.network_of(off) == forms.VIT.network


@pytest.mark.parametrize("field", ["use_rope", "do_flip_channel_order", "do_thumbnail"])
@pytest.mark.parametrize("prefix", ["", "image_processor."])
def test_unknown_preprocessing_field_is_rejected_by_name(field: str, prefix: str) -> None:
    content = forms.huggingface_preprocess(forms.VIT)
    facts = changed({"image_processor": content} if prefix else content, f"{prefix}{field}", False)

    with pytest.raises(IncompatibleWeights, match=rf"x\.json: unsupported fields {prefix}{field};"):
        transformers.preprocess_of(facts)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_file_with_an_unknown_field_beside_weights_is_rejected(
    name: str, vit: Tensors, tmp_path: Path
) -> None:
    path = forms.transformers(forms.VIT, vit, tmp_path)
    content = json.loads((tmp_path / name).read_text())
    forms.write_json(tmp_path / name, content | {"use_rope": True})

    with pytest.raises(IncompatibleWeights, match=rf"{name}: unsupported fields use_rope"):
        reader.read(path)


# ---- configs as OpenAI published them

GENERATION: dict[str, Any] = {  # what transformers 4.16 wrote into both towers of every config
    "_name_or_path": "",
    "add_cross_attention": False,
    "architectures": None,
    "attention_dropout": 0.0,
    "bad_words_ids": None,
    "bos_token_id": 0,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "dropout": 0.0,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "eos_token_id": 2,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "gradient_checkpointing": False,
    "hidden_act": "quick_gelu",
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "layer_norm_eps": 1e-05,
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "pad_token_id": 1,
    "prefix": None,
    "problem_type": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict": True,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "task_specific_params": None,
    "temperature": 1.0,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "tokenizer_class": None,
    "top_k": 50,
    "top_p": 1.0,
    "torch_dtype": None,
    "torchscript": False,
    "transformers_version": "4.16.0.dev0",
    "use_bfloat16": False,
}
TEXT_B32 = {
    **GENERATION,
    "model_type": "clip_text_model",
    "hidden_size": 512,
    "intermediate_size": 2048,
    "max_position_embeddings": 77,
    "num_attention_heads": 8,
    "num_hidden_layers": 12,
    "vocab_size": 49408,
}
VISION_B32 = {
    **{k: v for k, v in GENERATION.items() if not k.endswith(("bos_token_id", "pad_token_id"))},
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "model_type": "clip_vision_model",
    "hidden_size": 768,
    "image_size": 224,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "patch_size": 32,
}
OPENAI_B32 = {
    "_name_or_path": "openai/clip-vit-base-patch32",
    "architectures": ["CLIPModel"],
    "initializer_factor": 1.0,
    "logit_scale_init_value": 2.6592,
    "model_type": "clip",
    "projection_dim": 512,
    "text_config": TEXT_B32,
    "text_config_dict": None,
    "transformers_version": None,
    "vision_config": VISION_B32,
    "vision_config_dict": None,
}
OPENAI_PREPROCESS = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}
B32 = NetworkConfig(
    512,
    ViTConfig(224, 32, 768, 12, 12, 3072, "quick_gelu"),
    TextConfig(77, 49408, 512, 12, 8, 2048, "quick_gelu"),
)


def test_config_of_openai_with_its_generation_fields_is_read() -> None:
    assert transformers.network_of(Fields(OPENAI_B32, "config.json")) == B32


def test_preprocessor_config_of_openai_is_read() -> None:
    found = transformers.preprocess_of(Fields(OPENAI_PREPROCESS, "preprocessor_config.json"))

    assert found == PreprocessConfig(224)


def test_partial_config_dicts_of_openai_are_filled_with_defaults() -> None:
    content = OPENAI_B32 | {  # of openai/clip-vit-large-patch14
        "projection_dim": 768,
        "text_config_dict": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "projection_dim": 768,
        },
        "vision_config_dict": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
            "projection_dim": 768,
        },
    }

    assert transformers.network_of(Fields(content, "config.json")) == NetworkConfig(
        768,
        ViTConfig(224, 14, 1024, 24, 16, 4096, "quick_gelu"),
        TextConfig(77, 49408, 768, 12, 12, 3072, "quick_gelu"),
    )


@pytest.mark.parametrize("field", sorted(GENERATION.keys() - {"hidden_act", "layer_norm_eps"}))
def test_each_generation_field_alone_is_accepted(field: str) -> None:
    content = changed(HUGGINGFACE, f"text_config.{field}", GENERATION[field]).content
    content = changed(content, f"vision_config.{field}", GENERATION[field])

    assert transformers.network_of(content) == forms.VIT.network


def test_folder_with_configs_of_openai_is_loaded(vit: Tensors, tmp_path: Path) -> None:
    path = forms.transformers(forms.VIT, vit, tmp_path)
    small = forms.huggingface_config(forms.VIT)
    towers = {
        "text_config": TEXT_B32 | small["text_config"],
        "vision_config": VISION_B32 | small["vision_config"],
    }
    forms.write_json(tmp_path / "config.json", OPENAI_B32 | {"projection_dim": 32} | towers)
    forms.write_json(
        tmp_path / "preprocessor_config.json", OPENAI_PREPROCESS | {"size": 32, "crop_size": 32}
    )

    assert reader.read(path).spec == forms.VIT


def test_null_means_the_default_in_preprocessing() -> None:
    content = {
        "size": {"height": 32, "width": 32, "shortest_edge": None, "longest_edge": None},
        **dict.fromkeys(["resample", "do_resize", "image_mean", "image_std", "crop_size"]),
    }

    found = transformers.preprocess_of(Fields(content, "x.json"))

    assert found == PreprocessConfig(32, resize_mode="squash")


def test_unknown_fields_that_are_null_are_ignored() -> None:
    Fields({"quantization_config": None}, "x.json").allow_only([])
