"""SiglipModel of transformers: config and tensors, and the same model in the other layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import families
from tests.checkpoint.forms import write_json
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import transformers
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import TextConfig, ViTConfig, siglip_tokenizer

CONFIG = families.huggingface_config()


def test_every_tensor_is_read_by_its_own_name(tmp_path: Path) -> None:
    tensors = families.tensors_of(families.SIGLIP)

    found = reader.read(families.write_transformers(tmp_path, tensors=tensors))

    assert (found.spec, found.layout) == (families.SIGLIP, "transformers")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.usefixtures("tiny_towers")
def test_identity_is_equal_in_both_layouts(tmp_path: Path) -> None:
    first = zeroshot.load(families.write_transformers(tmp_path / "a"), device="cpu")
    second = zeroshot.load(families.write_open_clip(tmp_path / "b"), device="cpu")

    assert first.identity == second.identity
    assert (first.logit_scale, first.logit_bias) == (second.logit_scale, second.logit_bias)


def test_defaults_are_those_of_the_base_model() -> None:
    document = {"model_type": "siglip", "vision_config": {}, "text_config": {}}

    found = transformers.network_of(Fields(document, "x.json"))

    assert isinstance(found.vision, ViTConfig)
    assert isinstance(found.text, TextConfig)
    assert (found.embed_dim, found.vision.width, found.vision.patch_size) == (768, 768, 16)
    assert (found.text.context_length, found.text.vocab_size) == (64, 32000)
    assert found.vision.activation == found.text.activation == "gelu_tanh"
    assert found.logit_bias


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("vision_config.hidden_act", "swish", r"vision_config\.hidden_act is 'swish'"),
        ("text_config.hidden_act", ["gelu"], r"text_config\.hidden_act is \['gelu'\]"),
        ("vision_config.vision_use_head", False, "vision_use_head is False, expected True"),
        ("vision_config.num_channels", 1, "num_channels is 1"),
        ("vision_config.num_patches", 256, r"unsupported fields vision_config\.num_patches"),
        ("text_config.use_rope", True, r"unsupported fields text_config\.use_rope"),
        ("is_decoder", True, "is_decoder is True"),
        ("text_config.max_position_embeddings", -1, "max_position_embeddings is -1"),
        ("model_type", "siglip2", "model_type is 'siglip2', expected one of clip, siglip"),
    ],
)
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what):
        transformers.network_of(changed(CONFIG, path, value))


def test_width_that_differs_from_the_shared_space_is_rejected(tmp_path: Path) -> None:
    families.write_transformers(tmp_path)
    document = families.huggingface_config()
    document["text_config"]["projection_size"] = 40
    write_json(tmp_path / "config.json", document)

    with pytest.raises(IncompatibleWeights, match="vision width is 48, expected 40"):
        reader.read(tmp_path)


def test_pad_of_the_larger_vocabulary_is_that_of_siglip_2() -> None:
    assert (siglip_tokenizer(64, 32_000).pad, siglip_tokenizer(64, 256_000).pad) == (1, 0)
