"""ChineseCLIPModel of transformers: config, tensors and preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoint import families_bert
from tests.checkpoint.families import tensors_of
from tests.checkpoint.forms import write_json
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import transformers
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import BertConfig, ViTConfig

CONFIG = families_bert.huggingface_config()


def test_every_tensor_is_read_by_its_own_name(tmp_path: Path) -> None:
    tensors = tensors_of(families_bert.CHINESE_CLIP)

    found = reader.read(families_bert.write_transformers(tmp_path, tensors))

    assert (found.spec, found.layout) == (families_bert.CHINESE_CLIP, "transformers")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


def test_defaults_are_those_of_the_library() -> None:
    document = {"model_type": "chinese_clip", "vision_config": {}, "text_config": {}}

    found = transformers.network_of(Fields(document, "x.json"))

    assert found.embed_dim == 512
    assert found.vision == ViTConfig(224, 32, 768, 12, 12, 3072, "quick_gelu")
    assert found.text == BertConfig(
        52, 30522, 768, 12, 12, 3072, 1e-12, 512, 0, 0, "gelu", "first", "linear"
    )


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("text_config.hidden_act", "relu", r"text_config\.hidden_act is 'relu', expected one of"),
        ("text_config.position_embedding_type", "relative_key", "position_embedding_type is 'rel"),
        ("text_config.pad_token_id", 1, "pad_token_id is 1, expected 0, the padding of BERT's"),
        ("text_config.is_decoder", True, "is_decoder is True"),
        ("text_config.use_rope", True, r"unsupported fields text_config\.use_rope"),
        ("projection_dim", 0, "projection_dim is 0"),
    ],
)
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what):
        transformers.network_of(changed(CONFIG, path, value))


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        ({}, "squash"),
        ({"do_center_crop": True}, "squash"),  # of the size that it has already
        ({"size": {"shortest_edge": 32}, "do_center_crop": True}, "shortest"),
    ],
)
def test_preprocessing_is_that_of_the_file(tmp_path: Path, change: Any, mode: str) -> None:
    families_bert.write_transformers(tmp_path)
    write_json(
        tmp_path / "preprocessor_config.json", families_bert.huggingface_preprocess() | change
    )

    assert reader.read(tmp_path).spec.preprocess.resize_mode == mode


def test_crop_of_another_size_is_rejected(tmp_path: Path) -> None:
    families_bert.write_transformers(tmp_path)
    change = {"do_center_crop": True, "crop_size": {"height": 24, "width": 24}}
    document = families_bert.huggingface_preprocess() | change
    write_json(tmp_path / "preprocessor_config.json", document)

    with pytest.raises(IncompatibleWeights, match="crop_size is "):
        reader.read(tmp_path)
